"""What a person looks for among the runs: the box's terms, and the short parameters that links use, as what `run_lists` understands."""

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists
from django.http import HttpRequest

from agents import run_lists
from agents.models import Call, Run
from approvals import votes
from budgets import money, reservations
from controlplane.console import asked, lists, terms
from controlplane.console.terms import NotUnderstood, Term

STATES = dict(Run.State.choices)
_ID = re.compile(r"[Rr]-[0-9A-Za-z]{1,24}")
# The parameters of links from elsewhere, and the qualifier that says the same.
PARAMETERS = {"state": "status", "agent": "agent", "since": "after", "over": "ended"}
ORDERS = {"started": "Started", "steps": "Steps", "calls": "Calls", "writes": "Writes", "tokens": "Tokens", "cost": "Cost", "took": "Took"}
# What a row may say besides its run and its status, in this order; `?cols=` chooses, and these are chosen without it.
COLUMNS = {name: ORDERS[name] for name in ("steps", "calls", "writes", "tokens", "cost", "took")} | {
    "waited": "Waited",
    "started": "Started",
}
USUAL = ("steps", "calls", "writes", "cost", "took", "started")


def columns(request: HttpRequest) -> tuple[str, ...]:
    """The columns that the address asks for, as one text or a parameter each; the usual ones when it names none."""
    named = {name.strip() for text in request.GET.getlist("cols")[: len(COLUMNS)] for name in text[:200].split(",")}
    return tuple(name for name in COLUMNS if name in named) or USUAL


def _moment(value: str) -> datetime.datetime:
    found = lists.moment(value)
    if found is None:
        raise NotUnderstood("write a time such as 2026-11-21 or 2026-11-21T14:30, in UTC.")
    return found


def _compared(parse: Callable[[str], int], example: str) -> Callable[[str], tuple[str, int]]:
    def meaning(value: str) -> tuple[str, int]:
        sign, number = value[:1], value[1:]
        if sign not in {">", "<"}:
            raise NotUnderstood(f"write it as {example}.")
        try:
            return sign, parse(number)
        except (ValueError, money.NotMoney):
            raise NotUnderstood(f"write it as {example}.") from None

    return meaning


def _count(number: str) -> int:
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise ValueError(number)
    return int(number)


def _plain(value: str) -> str:
    return value


# qualifier -> (what its value means, an example, what it finds)
QUALIFIERS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "status": (terms.one_of(*(name.lower() for name in STATES)), "status:failed", "runs in a state"),
    "agent": (_plain, "agent:NAME", "runs of an agent"),
    "tool": (_plain, "tool:NAME", "runs that called a tool"),
    "has": (terms.one_of(*run_lists.FACTS), "has:wrote", "wrote, refused, asked, cap or loop"),
    "refused": (_plain, "refused:schema", "refused by a rule, by a code such as schema, or by any"),
    "call": (
        terms.one_of(*(name.lower() for name in Call.State.values)),
        "call:in_doubt",
        "runs with a call in a state; of the tool, if one is named",
    ),
    "waiting": (terms.one_of("any", "one", "two"), "waiting:two", "runs that wait for one human or for two"),
    "approver": (_plain, "approver:NAME", "runs of which this person approved something"),
    "cost": (_compared(money.parse, "cost:>0.40"), "cost:>0.40", "dearer or cheaper runs"),
    "steps": (_compared(_count, "steps:>20"), "steps:>20", "longer or shorter runs"),
    "after": (_moment, "after:2026-11-01", "started since"),
    "before": (_moment, "before:2026-11-02T14:00", "started before"),
    "ended": (_moment, "ended:2026-11-01", "ended since"),
}

# qualifier -> the field of `run_lists.Wanted` that takes its value as it is
FIELDS = {"status": "state", "waiting": "waits", "ended": "ended_after"} | {
    name: name for name in ("agent", "tool", "refused", "call", "after", "before")
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for."""

    terms: list[Term]
    problems: list[str]
    wanted: run_lists.Wanted
    order: run_lists.Order

    @property
    def text(self) -> str:
        return terms.text(self.terms)

    @property
    def sort(self) -> str:
        return "" if self.order.is_by_time else f"{'-' if self.order.down else ''}{self.order.name}"


WORDS_WITHHELD = "Words are looked for in titles and references, which take the permission runs_read."


def read(request: HttpRequest, *, may_read: bool) -> Asked:
    """The terms of the box and of the parameters. Who may not read runs finds them by all but their words. Call inside `tenancy.within`."""
    found = terms.read(asked.text(request, "q", longest=terms.LONGEST), QUALIFIERS)
    for parameter, name in PARAMETERS.items():
        value = asked.text(request, parameter)
        found += [Term(name, value.lower() if name == "status" else value)] if value else []
    found += [Term("has", "refused")] if asked.text(request, "with") == "refused" else []
    found = list(dict.fromkeys(found))
    withheld = [] if may_read else [term for term in found if not term.name and not _ID.fullmatch(term.value)]
    found = [term for term in found if term not in withheld]
    meant, problems = terms.understood(found, {name: meaning for name, (meaning, _, _) in QUALIFIERS.items()})
    problems += [WORDS_WITHHELD] if withheld else []
    return Asked(found, problems, wanted(meant, [term.value for term in found if not term.name]), order(asked.text(request, "sort")))


def wanted(meant: list[tuple[str, Any]], words: list[str]) -> run_lists.Wanted:
    """What `run_lists` looks for."""
    said: dict[str, Any] = {}
    among: list[Exists] = []
    facts: set[str] = set()
    over: dict[str, int] = {}
    under: dict[str, int] = {}
    for name, value in meant:
        if name in FIELDS:
            said[FIELDS[name]] = value.upper() if name in {"status", "call"} else value
        elif name == "has":
            facts.add(value)
        elif name == "approver":
            among.append(votes.with_vote_of(value))
        elif name == "cost":
            among.append(reservations.run_that_spent(*value))
        else:
            (over if value[0] == ">" else under)["steps"] = value[1]
    ids = [word for word in words if _ID.fullmatch(word)]
    words = [word for word in words if word not in ids[:1]]
    said |= {"id": ids[0].upper()} if ids else {}
    return run_lists.Wanted(facts=frozenset(facts), among=tuple(among), over=over, under=under, words=tuple(words), **said)


def order(sort: str) -> run_lists.Order:
    """The order that `?sort=-cost` asks for; newest first when it asks for none there is."""
    name, down = sort.lstrip("-"), sort.startswith("-")
    if name not in ORDERS:
        return run_lists.Order()
    if name == "cost":
        return run_lists.Order("cost", reservations.spent_of_run(), down)
    return run_lists.Order(name, run_lists.VALUES[name], down)
