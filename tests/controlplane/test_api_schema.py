"""The OpenAPI document: valid, whole, and true of the answers that the doors give."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.urls import URLPattern
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from controlplane import urls
from tests import world as worlds
from tests.controlplane import api_knocking as knocking

DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
PUBLIC = {"schema", "docs", r"[\s\S]*"}


@pytest.fixture(scope="module")
def token(django_db_setup: None) -> str:
    """An owner of an organisation in which generated requests may do what they like."""
    return knocking.tokens(worlds.make())["olga"]


@pytest.fixture(scope="module")
def port(django_db_setup: None) -> Iterator[int]:
    with knocking.served() as number:
        yield number


def test_the_document_is_valid_and_nothing_was_guessed(tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml")]
    done = subprocess.run(command, cwd=knocking.ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_address_is_in_the_document_and_the_hot_ones_too() -> None:
    routed = {str(found.pattern) for found in urls.api if isinstance(found, URLPattern)} - PUBLIC
    routed = {"/api/v1/" + address.replace("<str:", "{").replace("<path:", "{").replace(">", "}") for address in routed}
    assert set(DOCUMENT["paths"]) == routed | {"/api/v1/calls", "/api/v1/calls/{identifier}"}


def test_every_operation_says_what_a_problem_looks_like_and_wants_credentials() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], (method, path)
            assert {"bearer": []} in operation["security"], (method, path)
            assert operation["summary"], (method, path)


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_generated_requests_are_answered_as_documented_and_never_by_a_failure(case: Any, token: str, port: int) -> None:
    """Some are good, most are not; what is generated never names what exists, so nearly all of it is refused, each by its own code."""
    checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
    case.call_and_validate(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, checks=checks)
