"""The console as a person's browser asks for it: signed in, following no script. Used by the tests of its pages."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from agents.models import Organisation
from audit import tenancy
from tests import world as worlds

HOSTILE = "<script>alert(1)</script> \u202egnp.exe"


@dataclass
class Browser:
    """One person's signed-in client at one workspace."""

    client: Client
    root: str

    def get(self, path: str, **query):
        return self.client.get(self.root + path, query)

    def post(self, path: str, **form):
        return self.client.post(self.root + path, form)

    def text(self, path: str, **query) -> str:
        answer = self.get(path, **query)
        assert answer.status_code == 200, (path, answer.status_code)
        return str(answer.content.decode())


def root_of(world: worlds.World, workspace: str = "") -> str:
    with tenancy.within(world.organisation):
        return f"/{Organisation.objects.get(id=world.organisation).slug}/{workspace or world.workspace.slug}"


def signed_in(world: worlds.World, name: str = "") -> Client:
    """The client of the person of that name, or of nobody."""
    client = Client()
    if name:
        user = get_user_model().objects.get(pk=world.people[name].user)
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def browser(world: worlds.World, name: str = "", *, at: worlds.World | None = None) -> Browser:
    """The person of that name, or nobody; `at` another organisation than their own."""
    return Browser(signed_in(world, name), root_of(at or world))


def visit(world: worlds.World, name: str, page: str) -> Any:
    return signed_in(world, name).get(f"{root_of(world)}/{page}")


def text(response: Any) -> str:
    return str(response.content.decode())


def stays_outside(world: worlds.World, elsewhere: worlds.World, paths: list[str], *, may: str, may_not: str) -> None:
    """Each page opens for one role, looks like nothing to another and to another organisation, and leads strangers to sign-in."""
    entries = world.events()
    for path in paths:
        assert browser(world, may).get(path).status_code == 200, path
        assert browser(world, may_not).get(path).status_code == 404, path
        assert browser(elsewhere, may, at=world).get(path).status_code == 404, path
        stranger = browser(world).get(path)
        assert stranger.status_code == 302, path
        assert stranger.headers["Location"].startswith("/accounts/login/"), path
    assert world.events() == entries, "a GET left an entry"
