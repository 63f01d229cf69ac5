"""Every setting of a Remit installation, in the order a reader asks: what is it, who may reach it, where does it keep things,
what runs beside it.

Each variable is read here and nowhere else. `REMIT_X_FILE` may name a file that holds the value of any secret `REMIT_X`.
Limits and tiers that a customer tunes are rows, not settings.
"""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def env(name: str, default: str | None = None) -> str:
    """The variable's text; refuses to start when it is required and missing."""
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(
            f"{name} is not set. `make run` sets it for a demo; in production put it into the unit's environment file."
        )
    return value


def env_bool(name: str, default: bool) -> bool:  # noqa: FBT001
    """0/1, true/false, yes/no; anything else stops the start."""
    text = env(name, "1" if default else "0").lower()
    if text not in {"0", "1", "true", "false", "yes", "no"}:
        raise ImproperlyConfigured(f"{name} must be 0 or 1, not {text!r}.")
    return text in {"1", "true", "yes"}


def env_secret(name: str, default: str | None = None) -> str:
    """The variable, or the contents of the file that NAME_FILE points to."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else env(name, default)


def database(url: str) -> dict[str, object]:
    """postgresql://user:password@host:port/name as a Django database."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must start with postgresql://")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or 5432),
        # Threads are few and live as long as the process; a transaction pooler (PgBouncer) may stand between: nothing is session-scoped.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": False,
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "ATOMIC_REQUESTS": False,
        "OPTIONS": {"connect_timeout": 5, "application_name": "remit"},
    }


# What is it -----------------------------------------------------------------------------------------------------------------------------
BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"
DEMO = env_bool("REMIT_DEMO", default=False)  # demo data, one-time links; refuses any address but loopback
DEBUG = env_bool("REMIT_DEBUG", default=False)
BOOTSTRAP_PASSWORD = env_secret("REMIT_BOOTSTRAP_PASSWORD", "")  # of the people that `manage.py bootstrap` makes; else they have none
SECRET_KEY = env_secret("REMIT_SECRET_KEY")  # signs sessions, peppers keys, seals stored payloads
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "guardian",
    "allauth",
    "allauth.account",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "template_partials",
    "audit",
    "agents",
    "budgets",
    "approvals",
    "controlplane",
]

# Who may reach it -----------------------------------------------------------------------------------------------------------------------
ALLOWED_HOSTS = env("REMIT_HOSTS", "127.0.0.1,localhost,[::1]").split(",")
PUBLIC_URL = env("REMIT_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")  # links in answers to agents and people
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"  # reading a message writes nothing
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE = PUBLIC_URL.startswith("https://")
SESSION_ENGINE = "agents.sessions"  # Django's, with the user beside each, so that somebody's can be ended
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_NAME = "__Host-remit" if SECURE else "remit"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
BEHIND_PROXY = env_bool("REMIT_BEHIND_PROXY", default=False)  # ours: it sets X-Forwarded-Proto and X-Forwarded-For itself
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_HSTS_SECONDS = 31536000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SECURE_SSL_REDIRECT = SECURE
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]  # probes come by plain http from beside the process
METRICS_TOKEN = env_secret("REMIT_METRICS_TOKEN", "")  # who asks /metrics from another machine sends it as a bearer token
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
SILENCED_SYSTEM_CHECKS = ["guardian.W001"]  # its backend knows no end of a permission; who may do what is asked of `agents.organisations`
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ANONYMOUS_USER_NAME = None  # guardian would add a user row that no person is
ACCOUNT_ADAPTER = "controlplane.guard.ClosedSignup"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key"}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"

# Where does it keep things --------------------------------------------------------------------------------------------------------------
DATABASES = {"default": database(env_secret("DATABASE_URL"))}  # the application's role: owns nothing, cannot bypass row-level security
DIRECT_DATABASE_URL = env_secret("DIRECT_DATABASE_URL", "")  # behind a transaction pooler: the server itself, for LISTEN
DATABASE_OWNER_URL = env_secret("DATABASE_OWNER_URL", "")  # the owner's role: migrations only
DEMO_DATABASE_URL = env_secret("DEMO_DATABASE_URL", "")  # the demo's own systems (helpdesk, billing, ...)
REDIS_URL = env_secret("REDIS_URL", "redis://127.0.0.1:6379/0")  # hints only: losing it may cost latency, never an outcome
DATA_DIR = Path(env("REMIT_DATA_DIR", str(BASE_DIR / ".data")))
DATABASE_ROUTERS: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "controlplane.console.frame.frame",
            ]
        },
    }
]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "remit"}}

# What runs beside it --------------------------------------------------------------------------------------------------------------------
ROOT_URLCONF = "controlplane.urls"
ASGI_APPLICATION = "controlplane.asgi.application"
WEB_THREADS = int(env("REMIT_WEB_THREADS", "16"))  # the fixed pool that every synchronous request enters by one hop
LEASE_SECONDS = int(env("REMIT_LEASE_SECONDS", "4"))  # a silent worker loses its run after this long
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "global_keyprefix": "remit:",
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "max_retries": 1,
}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL], "prefix": "remit"}}
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["controlplane.guard.TokenOrSession"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],  # guard.require() decides, with the object in hand
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["controlplane.api.parsing.StrictJSON"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "controlplane.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Remit",
    "DESCRIPTION": "What agents may do, what they may spend, who must sign, and the proof of what they did.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "PREPROCESSING_HOOKS": ["controlplane.api.schema.with_hot_doors"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {"RoleEnum": "controlplane.api.members.ROLES"},
}
LOG_LEVEL = env("REMIT_LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "controlplane.logs.formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {"django.server": {"level": "WARNING"}, "httpx": {"level": "WARNING"}, "django.request": {"level": "ERROR"}},
}
