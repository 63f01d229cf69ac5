"""The product's own settings, changed in a few lines: what tests need is faster hashing and shorter leases, nothing softer."""

import os

os.environ.setdefault("REMIT_SECRET_KEY", "tests-only-" + "k" * 50)

from controlplane.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
LEASE_SECONDS = 2
ACCOUNT_RATE_LIMITS = {}
LOGGING_CONFIG = None
