"""The table from refusals to statuses, and what a problem looks like."""

import importlib
import pkgutil

import pytest
from django.db import DataError, IntegrityError, OperationalError
from django.test import Client

import agents
import approvals
import audit
import budgets
import controlplane
from agents import organisations
from audit import outcomes
from controlplane.api import errors

SQL_CODES = {"run_over", "limit_reached", "no_progress", "budget_exceeded", "stopped", "void"}
NOT_IMPORTED = ("migrations", "management.commands", "controlplane.asgi", "controlplane.celery")


def every_module() -> None:
    for package in (agents, approvals, audit, budgets, controlplane):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(name in found.name for name in NOT_IMPORTED) and not found.name.endswith("__main__"):
                importlib.import_module(found.name)


def refusals(kind: type[outcomes.Refused] = outcomes.Refused) -> list[type[outcomes.Refused]]:
    below = [one for one in kind.__subclasses__() if not one.__module__.startswith("tests.")]
    return below + [deeper for one in below for deeper in refusals(one)]


def test_every_refusal_has_a_status() -> None:
    every_module()
    codes = {kind.code for kind in refusals()} | SQL_CODES
    assert len(codes) > 40
    assert codes - errors.STATUS.keys() == set()


def test_every_status_belongs_to_a_refusal() -> None:
    every_module()
    assert errors.STATUS.keys() - {kind.code for kind in refusals()} - SQL_CODES == {"refused"}


def test_a_problem_says_what_by_which_rule_where_the_limit_is_and_what_to_do() -> None:
    refused = organisations.Conflict("No.", rule="r", current=2**60, limit=1, who="ann", next_step="Wait.", status="mine", cycle=["a"])
    problem = errors.problem(refused.as_dict())
    assert problem == {
        "type": "http://127.0.0.1:8000/docs/reference/problems#conflict",
        "title": "Conflict",
        "status": 409,
        "detail": "No.",
        "code": "conflict",
        "rule": "r",
        "current": str(2**60),
        "limit": 1,
        "who": "ann",
        "next": "Wait.",
        "cycle": ["a"],
    }


def test_what_was_not_found_is_not_repeated() -> None:
    missing = [organisations.NotFound("There is no such run.", rule="run", current=name) for name in ("R-1", "R-2")]
    assert errors.problem(missing[0].as_dict()) == errors.problem(missing[1].as_dict())


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(IntegrityError("x"), 409, "conflict"), (DataError("x"), 400, "bad_request"), (OperationalError("x"), 503, "unavailable")],
)
def test_what_the_database_refuses_is_a_problem_and_says_nothing_of_the_database(error: Exception, status: int, code: str) -> None:
    problem = errors.problem(errors.of_database(error).as_dict())  # type: ignore[arg-type]
    assert (problem["status"], problem["code"]) == (status, code)
    assert "x" not in problem["detail"].split()


def test_an_unknown_code_is_a_refusal_all_the_same() -> None:
    assert errors.status_of("something_new") == 409


@pytest.mark.parametrize("address", ["/api/v1/nothing", "/api/v1/prices/a%0Ab", "/api/v1/runs/%0D%0A/x"])
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_an_address_that_nobody_answers_is_a_problem_and_never_a_page(method: str, address: str) -> None:
    answer = getattr(Client(enforce_csrf_checks=True), method)(address)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
