"""Visiting pages as people do: signed in with a session, in a browser that sends what Django's test client sends."""

from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from agents.models import Organisation
from audit import tenancy
from tests.world import World


def root(world: World, workspace: str = "desk") -> str:
    with tenancy.within(world.organisation):
        return f"/{Organisation.objects.get(id=world.organisation).slug}/{workspace}"


def browser(world: World, name: str = "") -> Client:
    """A browser in which this person is signed in; nobody without a name."""
    client = Client(raise_request_exception=True)
    if name:
        client.force_login(get_user_model().objects.get(pk=world.people[name].user), backend="django.contrib.auth.backends.ModelBackend")
    return client


def visit(world: World, name: str, page: str) -> Any:
    return browser(world, name).get(f"{root(world)}/{page}")


def text(response: Any) -> str:
    return str(response.content.decode())


def entries(world: World) -> int:
    return len(world.events())
