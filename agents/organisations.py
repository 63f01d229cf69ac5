"""Tenancy: Organisation > Workspace, the people in them, and what a principal may do there. django-guardian evaluates the permissions."""

import datetime
import functools
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from guardian.core import ObjectPermissionChecker

from agents import roles
from agents.models import Member, Organisation, Workspace
from agents.models.organisations import in_force
from audit import ids, log, outcomes, tenancy


class NotFound(outcomes.Refused):
    """Absent and forbidden look the same."""

    code = "not_found"


class Forbidden(outcomes.Refused):
    code = "forbidden"


class Conflict(outcomes.Refused):
    code = "conflict"


# The first parts of our own addresses: an organisation of that slug would have no pages.
RESERVED = frozenset(
    {"accounts", "api", "docs", "favicon.ico", "go", "healthz", "keys", "mcp", "metrics", "otlp", "readyz", "start", "static"}
    | {"theme", "ui-kit", "v1", "workspaces", "ws"}
)
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is acting: an agent (by its key or a run's), a person, or the system itself. Identity comes from the credential only."""

    kind: str  # agent, person, system
    id: str  # the agent's, the member's, or the system's part
    organisation: str
    key: str = ""
    run: str = ""
    workspace: str = ""
    person: str = ""
    user: int = 0
    name: str = ""


def system(organisation: str, part: str = "system") -> Principal:
    """Remit itself, for periodic work and management commands."""
    return Principal(kind="system", id=part, organisation=organisation)


def may(principal: Principal, permission: str, workspace: str) -> bool:
    """Whether the principal holds the permission in the workspace. Call inside `tenancy.within`."""
    if principal.kind == "system":
        return True
    if principal.kind != "person":
        return False
    place = Workspace(organisation_id=principal.organisation, id=workspace)
    return permission in tenancy.once(("held", principal.user, workspace), lambda: held(principal, place))


def remember(principal: Principal, workspace: str, found: frozenset[str]) -> None:
    """What they hold was asked a moment ago: a transaction that only reads need not ask again. Call inside `tenancy.within`."""
    tenancy.once(("held", principal.user, workspace), lambda: found)


def require(principal: Principal, permission: str, workspace: str) -> None:
    """Raises Forbidden, naming the permission and who can grant it."""
    if not may(principal, permission, workspace):
        raise Forbidden(
            f"This needs the permission {permission} in this workspace.",
            rule=f"permission {permission}",
            current="not granted",
            limit=permission,
            who="whoever holds members_manage",
            next_step="Ask for a role that includes it: " + ", ".join(sorted(roles.giving(permission))) + ".",
        )


def id_of(slug: str) -> str:
    """The id of the organisation with that slug, whether or not there is one: nobody can look across organisations for it."""
    return ids.of("ORG", f"organisation {slug}")


def named(name: str) -> str:
    """A name that a person gives to an organisation, a workspace, a member or an agent, without its outer spaces. Raises Conflict.

    Names stand in sentences, entries, mails and tables, so nothing in one hides or turns the text around it.
    """
    name = name.strip()
    hidden = [f"U+{ord(each):04X}" for each in name if unicodedata.category(each) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}]
    if not name or hidden or len(name) > _LONGEST_NAME:
        raise Conflict(
            "A name is text that can be seen.",
            rule="name",
            current=", ".join(hidden[:5]) or f"{len(name)} characters",
            limit=f"1 to {_LONGEST_NAME} characters, none of them hidden",
            next_step="Type the name anew.",
        )
    return name


def _slug(slug: str) -> str:
    if slug in RESERVED or not _SLUG.fullmatch(slug):
        raise Conflict(
            "An organisation cannot have this slug: it is the first part of its pages' addresses.",
            rule="organisation_slug",
            current=slug[:80],
            limit="small letters, digits and dashes, up to 63, and none of " + ", ".join(sorted(RESERVED)),
            next_step="Choose another slug.",
        )
    return slug


def create(*, slug: str, name: str, by_part: str = "bootstrap") -> Organisation:
    """A new organisation. Its id follows from its slug, so the key itself refuses a second one of that slug. Raises Conflict."""
    identifier, name = id_of(_slug(slug)), named(name)
    by = system(identifier, by_part)
    with tenancy.within(identifier):
        try:
            organisation = Organisation.objects.create(organisation_id=identifier, id=identifier, slug=slug, name=name)
        except IntegrityError as error:
            raise Conflict(
                f"There is an organisation {slug} already.",
                rule="organisation_slug",
                current=slug,
                next_step="Choose another slug, or use the one that is there.",
            ) from error
        log.append("organisation.created", by=by, subject=identifier, detail={"slug": slug, "name": name})
    return organisation


def create_workspace(*, by: Principal, slug: str, name: str, environment: str = "production") -> Workspace:
    """A new workspace in the principal's organisation."""
    with tenancy.within(by.organisation):
        name = named(name)
        if Workspace.objects.filter(slug=slug).exists():
            raise Conflict(f"There is a workspace {slug} already.", rule="workspace_slug", current=slug, next_step="Choose another slug.")
        workspace = Workspace.objects.create(id=ids.new("WS"), slug=slug, name=name, environment=environment)
        log.append(
            "workspace.created", by=by, subject=workspace.id, workspace=workspace.id, detail={"slug": slug, "environment": environment}
        )
    return workspace


def workspace_of(by: Principal, slug: str = "") -> Workspace:
    """The named workspace (slug or id), an agent's own, or the only one. Raises NotFound. Call inside `tenancy.within`."""
    slug = slug or by.workspace
    found = list(
        Workspace.objects.filter(**({"id": slug} if slug.startswith("WS-") else {"slug": slug}))[:2]
        if slug
        else Workspace.objects.all()[:2]
    )
    if len(found) != 1:
        raise NotFound(
            "Say which workspace." if found and not slug else "There is no such workspace.",
            rule="workspace",
            current=slug,
            next_step="Give its slug as `workspace`.",
        )
    return found[0]


def workspaces() -> QuerySet[Workspace]:
    """The organisation's workspaces by slug. Call inside `tenancy.within`."""
    return Workspace.objects.order_by("slug")


@functools.lru_cache(maxsize=4096)
def address(organisation: str, workspace: str) -> str:
    """Where the pages of a workspace are, `/shop/desk`. Slugs never change, so it is kept."""
    with tenancy.within(organisation, read_only=True):
        slugs = (
            Organisation.objects.values_list("slug", flat=True).get(),
            Workspace.objects.values_list("slug", flat=True).get(id=workspace),
        )
    return f"/{slugs[0]}/{slugs[1]}"


def where(principal: Principal, permission: str) -> list[Workspace]:
    """The workspaces where the principal holds the permission. Raises Forbidden when there is none. Call inside `tenancy.within`."""
    found = [workspace for workspace in workspaces() if may(principal, permission, workspace.id)]
    if not found:
        require(principal, permission, "")
    return found


def may_everywhere(principal: Principal, permission: str) -> bool:
    """Whether the principal holds the permission in each workspace of the organisation. Call inside `tenancy.within`."""
    return all(may(principal, permission, workspace.id) for workspace in workspaces())


def require_everywhere(principal: Principal, permission: str) -> None:
    """For the whole organisation: the permission in each of its workspaces. Raises Forbidden. Call inside `tenancy.within`."""
    for workspace in workspaces():
        require(principal, permission, workspace.id)


def new_user(*, username: str, email: str = "", password: str = "") -> User:
    """A new account. Without a password it can be signed in to only after a reset. Raises Conflict when the name is taken here."""
    try:
        with transaction.atomic():
            return get_user_model().objects.create_user(username, email=email, password=password or None)
    except IntegrityError as error:
        raise Conflict(f"The user name {username} is taken.", rule="username", current=username, next_step="Choose another.") from error


def member(identifier: str) -> Member:
    """A member by id, or by name when only one bears it. Raises NotFound. Call inside `tenancy.within`."""
    found = list(
        Member.objects.filter(**({"id": identifier} if identifier.startswith("MEM-") else {"name": identifier})).prefetch_related("seats")[
            :2
        ]
    )
    if len(found) != 1:
        raise NotFound("There is no such member.", rule="member", current=identifier[:80], next_step="List the members.")
    return found[0]


def acting(row: Member) -> Principal:
    """The principal that a member is."""
    return Principal(kind="person", id=row.id, organisation=row.organisation_id, person=row.person, user=row.user_id, name=row.name)


def person_named(name: str, *, organisation: str = "") -> Principal:
    """Whom the command line acts as: by name in the organisation of that slug, else by user name in their only one. Raises NotFound."""
    found = [(id_of(organisation), name)]
    if not organisation:
        user = get_user_model().objects.filter(username=name, is_active=True).first()
        found = memberships(user.pk) if user is not None else []
    if len(found) != 1:
        raise NotFound(
            "There is no such person, or they are in several organisations.",
            rule="member",
            current=name,
            next_step="Say which organisation.",
        )
    with tenancy.within(found[0][0], read_only=True):
        row = member(found[0][1])
        if not row.is_active:
            raise NotFound(f"{name} is no longer a member.", rule="member", current=name, next_step="Ask whoever manages members.")
        return acting(row)


def add_member(*, by: Principal, user: User, name: str, person: str = "") -> Member:
    """Make a user a member. `person` defaults to the user itself; give the same one to two accounts of one human."""
    with tenancy.within(by.organisation):
        name = named(name)
        try:
            member = Member.objects.create(id=ids.new("MEM"), user=user, person=person or f"user-{user.pk}", name=name)
        except IntegrityError as error:
            raise Conflict(f"{name} is a member already.", rule="member_once", next_step="Give them a role instead.") from error
        log.append("member.added", by=by, subject=member.id, detail={"name": name, "person": member.person})
    return member


def deactivate(*, by: Principal, member: Member) -> None:
    """End a membership: their keys, votes in progress and permissions count no more."""
    with tenancy.within(by.organisation):
        Member.objects.filter(id=member.id).update(is_active=False)
        log.append("member.deactivated", by=by, subject=member.id, detail={"name": member.name})


def members(workspace: Workspace | None = None) -> QuerySet[Member]:
    """Members in name order, with their seats; of a workspace, those with a role there now. Call inside `tenancy.within`."""
    found = Member.objects.filter(in_force("seats__"), seats__workspace=workspace).distinct() if workspace else Member.objects.all()
    return found.prefetch_related("seats").order_by("name", "id")


def memberships(user: int) -> list[tuple[str, str]]:
    """(organisation, member) of every active membership of a user: the one question asked before an organisation is chosen."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("select set_config('app.user', %s, true)", [str(user)])
        cursor.execute("select organisation_id, id from agents_member where is_active and user_id = %s order by created_at", [user])
        return [(str(row[0]), str(row[1])) for row in cursor.fetchall()]


def held(principal: Principal, workspace: Workspace) -> frozenset[str]:
    """Every permission a person holds in a workspace. Call inside `tenancy.within`."""
    user = get_user_model().objects.filter(pk=principal.user).first()
    return frozenset(_given(user, workspace)) if user is not None else frozenset()


Held = dict[str, datetime.datetime | None]  # permission -> until when


def _given(user: User, workspace: Workspace) -> Held:
    """django-guardian's own question, of what is in force: each permission, and until when. Theirs alone: an account that Django calls a
    superuser, or a group of accounts, holds nothing here by that."""
    if not user.is_active:
        return {}
    theirs = ObjectPermissionChecker(user).get_user_filters(workspace)
    found = Permission.objects.filter(in_force("workspacepermission__"), **theirs)
    return dict(found.values_list("codename", "workspacepermission__until"))


def stand(user: int, tenant: str, workspace: str) -> tuple[Principal, Organisation, Workspace, Held] | None:
    """Who a signed-in user is at these slugs, and what they hold there until when; None when there is nothing of theirs."""
    for organisation, member in memberships(user):
        with tenancy.within(organisation, read_only=True):
            row = Organisation.objects.filter(slug=tenant).first()
            place = Workspace.objects.filter(slug=workspace).first() if row else None
            if row is None or place is None:
                continue
            found = Member.objects.select_related("user").get(id=member)
            permissions = _given(found.user, place)
            if permissions:
                return acting(found), row, place, permissions
    return None


def names(identifiers: Collection[str] | None = None) -> dict[str, str]:
    """The names of these members, or of all. Call inside `tenancy.within`."""
    found = Member.objects.all() if identifiers is None else Member.objects.filter(id__in=identifiers)
    return dict(found.values_list("id", "name"))


def account(person: Principal) -> User:
    """The user account that a person signs in with."""
    return get_user_model().objects.get(pk=person.user)


def last_seen() -> dict[int, datetime.datetime | None]:
    """user -> when they signed in last, for every member. Call inside `tenancy.within`."""
    return dict(Member.objects.values_list("user_id", "user__last_login"))
