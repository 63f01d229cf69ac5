"""What can be asked of an installation: each probe says what it found, or what is wrong and the command that helps. readyz, doctor and
the deploy checks ask the same questions here.
"""

import datetime
import functools
import http.client
import shutil
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from controlplane import outbox, sweeping

MOST_SKEW_S = 2.0
OLDEST_WORK_S = 60.0
ENOUGH_BYTES = 1 << 30
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe says. Without `is_fatal` Remit still does what it must, only slower or with less comfort."""

    name: str
    is_ok: bool
    says: str
    fix: str = ""
    is_fatal: bool = True


def well(name: str, says: str) -> Finding:
    return Finding(name, is_ok=True, says=says)


def ill(name: str, says: str, fix: str, *, is_fatal: bool = True) -> Finding:
    return Finding(name, is_ok=False, says=says, fix=fix, is_fatal=is_fatal)


def role() -> Finding:
    """The application may not step round row-level security: it owns nothing and is nobody's deputy."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select r.rolname, r.rolsuper, r.rolbypassrls,"
            " (select count(*) from pg_class c where c.relnamespace = 'public'::regnamespace and c.relowner = r.oid),"
            " (select count(*) from pg_auth_members m where m.member = r.oid)"
            " from pg_roles r where r.rolname = current_user"
        )
        name, is_super, bypasses, owned, memberships = cursor.fetchone()
    wrong = {
        "is a superuser": is_super,
        "bypasses row-level security": bypasses,
        f"owns {owned} tables": owned,
        "is a member of other roles": memberships,
    }
    found = [words for words, holds in wrong.items() if holds]
    if found:
        return ill(
            "database role",
            f"{name} {' and '.join(found)}",
            "psql -v ON_ERROR_STOP=1 -1 -d remit -f deploy/sql/roles.sql, then let DATABASE_URL log in as remit_app",
        )
    return well("database role", f"{name} owns nothing and is bound by row-level security")


def migrations() -> Finding:
    """A database newer than the code is fine: that is what an upgrade looks like half-way."""
    with connection.cursor() as cursor:
        cursor.execute("select app, name from django_migrations")
        applied = {(str(app), str(name)) for app, name in cursor.fetchall()}
    missing = sorted(_on_disk() - applied)
    if missing:
        return ill(
            "migrations",
            f"{len(missing)} not applied, the first is {'.'.join(missing[0])}",
            "make migrate, or: DATABASE_URL=$DATABASE_OWNER_URL python manage.py migrate",
        )
    return well("migrations", f"all {len(_on_disk())} applied")


@functools.cache
def _on_disk() -> frozenset[tuple[str, str]]:
    # A squashed migration and those it replaces need not both be there.
    loader = MigrationLoader(None)
    return frozenset(key for key in loader.graph.nodes if key in loader.disk_migrations)


ISOLATION = """
select c.relname, case
    when not c.relrowsecurity then 'has no row-level security'
    when not c.relforcerowsecurity then 'does not force row-level security on its owner'
    when not exists (select from pg_policy p where p.polrelid = c.oid) then 'has no policy'
    else 'has a policy that does not check what is written' end
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition
  and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'organisation_id' and not a.attisdropped)
  and (not c.relrowsecurity or not c.relforcerowsecurity
       or not exists (select from pg_policy p where p.polrelid = c.oid)
       or exists (select from pg_policy p where p.polrelid = c.oid and p.polcmd <> 'r' and p.polcmd <> 'd' and p.polwithcheck is null))
order by 1
"""
REACHABLE_PARTITIONS = """
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relispartition and c.relkind in ('r', 'p')
  and has_table_privilege(current_user, c.oid, 'select, insert, update, delete, truncate') order by 1
"""


def isolation() -> Finding:
    """Every tenant table, read from the catalogue, and no way round one through a partition."""
    with connection.cursor() as cursor:
        cursor.execute(ISOLATION)
        open_tables = [f"{table} {why}" for table, why in cursor.fetchall()]
        cursor.execute(REACHABLE_PARTITIONS)
        open_tables += [f"{table} can be reached beside its parent" for (table,) in cursor.fetchall()]
    if open_tables:
        return ill(
            "isolation",
            "; ".join(open_tables[:5]),
            "make migrate; if it stays, somebody altered the table by hand: stop the web processes first",
        )
    return well("isolation", "row-level security is forced on every table of an organisation")


def partitions() -> Finding:
    """The next month's. Without it entries go to the default partition: kept, but slower to find."""
    month = (datetime.datetime.now(tz=datetime.UTC).replace(day=1) + datetime.timedelta(days=32)).strftime("%Y_%m")
    with connection.cursor() as cursor:
        cursor.execute(
            "select t from unnest(%s::text[]) t where to_regclass('public.' || t) is null",
            [[f"{table}_{month}" for table in sweeping.PARTITIONED]],
        )
        missing = [str(table) for (table,) in cursor.fetchall()]
    if missing:
        return ill(
            "partitions",
            f"missing: {', '.join(missing)}",
            "python manage.py partitions; and see that `manage.py sweep` runs",
            is_fatal=False,
        )
    return well("partitions", f"ready for {month.replace('_', '-')}")


def clock() -> Finding:
    """Leases, windows and expiries go by the database's clock; people and logs by this machine's."""
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute("select extract(epoch from clock_timestamp())::float8")
        theirs = float(cursor.fetchone()[0])
    skew = theirs - (before + time.time()) / 2
    if abs(skew) >= MOST_SKEW_S:
        return ill("clock", f"the database is {skew:+.1f} s away from this machine", "timedatectl set-ntp true, on both")
    return well("clock", f"within {max(abs(skew), 0.001):.3f} s of the database")


def backlog() -> Finding:
    """Work that waits too long means that no worker does it."""
    waiting = outbox.waiting()
    text = f"{int(waiting['due'])} due, {int(waiting['leased'])} under way, the oldest since {waiting['oldest_s']:.0f} s"
    if waiting["oldest_s"] >= OLDEST_WORK_S:
        return ill("work", text, "start workers: celery -A controlplane.celery worker --pool threads; and read their log", is_fatal=False)
    return well("work", text)


def sweep() -> Finding:
    """Somebody holds the sweep's lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from pg_locks where locktype = 'advisory' and granted and objsubid = 1"
            " and database = (select oid from pg_database where datname = current_database())"
            " and classid::bigint = %s and objid::bigint = %s",
            [sweeping.LEADER >> 32, sweeping.LEADER & 0xFFFFFFFF],
        )
        leads = bool(cursor.fetchone()[0])
    if not leads:
        return ill("sweep", "no sweep runs: open pages hear nothing, months are not made", "python manage.py sweep", is_fatal=False)
    return well("sweep", "one leads")


def broker() -> Finding:
    """Redis carries hints only, so without it everything still happens, later."""
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S) as store:
            store.ping()
    except (redis.RedisError, OSError) as error:
        return ill(
            "redis",
            f"does not answer ({type(error).__name__}): pages are not told of changes, work waits up to a second",
            "systemctl status valkey; check REDIS_URL",
            is_fatal=False,
        )
    return well("redis", "answers")


def static_files() -> Finding:
    """The style sheet and the script: collected, or found in the checkout."""
    collected = Path(settings.STATIC_ROOT)
    if collected.is_dir() and any(collected.iterdir()):
        return well("static files", f"collected in {collected}")
    if settings.WHITENOISE_USE_FINDERS and any(Path(place).is_dir() for place in settings.STATICFILES_DIRS):
        return well("static files", "served from the checkout")
    return ill("static files", f"{collected} is empty", "python manage.py collectstatic --no-input", is_fatal=False)


def disk() -> Finding:
    """Where this process keeps files."""
    place = next(path for path in (Path(settings.DATA_DIR), *Path(settings.DATA_DIR).parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / (1 << 30):.1f} GiB free at {place}"
    return well("disk", text) if free >= ENOUGH_BYTES else ill("disk", text, f"df -h {place}")


def web() -> Finding:
    """Somebody answers at the address that links point to."""
    parts = urllib.parse.urlsplit(settings.PUBLIC_URL)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    wire = kind(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    try:
        wire.request("GET", "/healthz")
        status = wire.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return ill(
            "web",
            f"{settings.PUBLIC_URL} does not answer ({type(error).__name__})",
            "start the web process, or mend REMIT_PUBLIC_URL",
            is_fatal=False,
        )
    finally:
        wire.close()
    if status != 200:
        return ill(
            "web",
            f"{settings.PUBLIC_URL}/healthz answers {status}",
            "check the reverse proxy, REMIT_HOSTS and REMIT_BEHIND_PROXY",
            is_fatal=False,
        )
    return well("web", f"{settings.PUBLIC_URL} answers")


OF_THE_DATABASE: dict[str, Callable[[], Finding]] = {
    "database role": role,
    "migrations": migrations,
    "isolation": isolation,
    "partitions": partitions,
    "clock": clock,
    "work": backlog,
    "sweep": sweep,
}
OF_THE_REST: dict[str, Callable[[], Finding]] = {"redis": broker, "web": web, "static files": static_files, "disk": disk}


def asked(name: str, probe: Callable[[], Finding]) -> Finding:
    """A probe of the database that cannot be asked has found that out."""
    try:
        return probe()
    except DatabaseError as error:
        why = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        return ill(name, f"the database could not be asked: {why}", "check DATABASE_URL, and that PostgreSQL runs; then: make migrate")
