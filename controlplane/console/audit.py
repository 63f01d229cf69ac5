"""The audit log: found by filters in the address, one entry with its exact bytes, taken away as a file. Looking changes nothing here."""

import datetime
import hashlib
import json
import re
import secrets
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import contracts, organisations, sight
from audit import events, exports, log, models, search, tenancy
from controlplane.console import frame, lists, render, sentences, terms
from controlplane.console.frame import Place

FILTERS = ("event", "outcome", "kind", "actor", "subject", "run", "text", "since", "until")
WORDS = {"since": "from", "until": "to", "kind": "by", "text": "words"}
KINDS = {"person": "People", "agent": "Agents", "system": "Remit itself"}
QUALIFIERS = {"after": "since", "before": "until", "object": "subject", **{name: name for name in FILTERS}}
QUESTIONS = {
    "Everything refused": {"outcome": "refused"},
    "Every decision of a person": {"event": "request.voted"},
    "Every change of a rule": {"event": "policy.*"},
    "Every change of a cap": {"event": "cap.*"},
    "Every stop": {"event": "stop.*"},
    "Every export": {"event": "audit.exported"},
}
MEDIA = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
MOST_NEW, MOST_DRAWN = 1_000, 200
SETTLES = datetime.timedelta(minutes=1)  # an entry bears the time of its transaction, and is there when that is over
# Where an entry says itself what stood before.
BEFORE = {"cap_micros": "before", "period": "before_period", "two_people_above": "before", "zone": "before"}
# Where a thing can be looked at, by the prefix of its id.
PAGES = {"R": "runs", "APR": "approvals", "STP": "stops", "POL": "policies", "AG": "agents", "EV": "audit"}
_ID = re.compile(r"(R|APR|STP|POL|AG|EV)-[0-9A-Z]{4,40}")


@require_safe
@frame.page("audit_view", at="audit")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    """One page of the log, newest first. It stands still: what is new waits behind a button."""
    if request.GET.get("q", "").strip():
        return redirect(f"{place.root}/audit?{urlencode(_qualified(request.GET.dict()))}")
    asked, problems = _asked(request.GET.dict())
    number, seed = _drawn(request.GET.dict()) if place.may("audit_all") else (0, "")
    fixed = _fixed(asked, seed) if number and not problems else None
    if fixed:
        return redirect(f"{place.root}/audit?{urlencode(asked | fixed | {'sample': number})}")
    names = _names(place)
    found, floor = (log.entries().none(), None) if problems else _entries(place, asked, names)
    above = lists.below(request.GET.get("above", ""))
    if request.headers.get("HX-Target") == "fresh":
        number = search.beside(found, above, newer=True)[:MOST_NEW].count() if above else 0
        return render.page(request, "audit/list.html", {"number": number, "asked": asked, "MOST_NEW": MOST_NEW}, fragment="fresh")
    context = _page(request, found, asked, names, search.sample(found, number=number, seed=seed) if number else None) | {
        "seed": seed,
        "drawn": number,
        "MOST_DRAWN": MOST_DRAWN,
        "DRAWN_FROM": search.DRAWN_FROM,
        "asked": asked,
        "query": urlencode(asked),
        "chips": _chips(asked),
        "events": _grouped(),
        "outcomes": events.OUTCOMES,
        "kinds": KINDS,
        "questions": [(words, urlencode(query)) for words, query in QUESTIONS.items()],
        "problems": problems,
        "floor": floor,
        "everywhere": organisations.may_everywhere(place.principal, "audit_all"),
        "now": timezone.now(),
    }
    return render.page(request, "audit/list.html", context, status=422 if problems else 200)


def _page(request: HttpRequest, found: Any, asked: dict[str, str], names: dict[str, str], drawn: search.Sample | None) -> dict[str, Any]:
    """The rows around the one that the address names, or the sample that was drawn, and the numbers of all of them."""
    below, above = (lists.below(request.GET.get(name, "")) if drawn is None else None for name in ("below", "above"))
    if drawn is not None:
        shown, newer, older = list(drawn.rows), False, False
    elif above and not below:
        rows = list(search.beside(found, above, newer=True)[: lists.SHOWN + 1])
        shown = rows[: lists.SHOWN][::-1]
        newer, older = len(rows) > lists.SHOWN, True
    else:
        rows = list((search.beside(found, below) if below else found)[: lists.SHOWN + 1])
        shown, newer, older = rows[: lists.SHOWN], bool(below), len(rows) > lists.SHOWN
    numbers = search.numbers(found, since=lists.moment(asked.get("since", "")), until=lists.moment(asked.get("until", "")))
    return {
        "rows": [(entry, sentences.of(entry), names.get(entry.actor_id, ""), events.outcome(entry.event)) for entry in shown],
        "newest": _key(shown[0]) if shown else lists.packed(timezone.now().isoformat(), ""),
        "newer": urlencode(asked | {"above": _key(shown[0])}) if newer and shown else "",
        "further": urlencode(asked | {"below": _key(shown[-1])}) if older and shown else "",
        "is_top": not below and not above and drawn is None,
        "sample": drawn,
        "numbers": numbers,
        "facets": _facets(numbers, asked, names),
        "bars": _bars(numbers, asked),
        "first": not shown and not asked,
    }


@require_safe
@frame.page("audit_view", at="audit")
def entry(request: HttpRequest, place: Place, identifier: str) -> HttpResponse:
    """One entry: what happened in words, its fields beside what stood before, its exact bytes and the leaf that vouches for them."""
    found = log.get(identifier)
    if found is None or not may_read(place, found):
        raise Http404
    leaf, body, was = bytes(found.leaf), json.loads(found.body), search.before(found)
    was = was if was is not None and may_read(place, was) else None
    context = {
        "entry": found,
        "sentence": sentences.of(found),
        "outcome": events.outcome(found.event),
        "outcomes": events.OUTCOMES,
        "actor": _names(place).get(found.actor_id, ""),
        "before": was,
        "fields": _fields(body["detail"], json.loads(was.body)["detail"] if was else {}, place),
        "leaf": leaf.hex(),
        "is_whole": hashlib.sha256(b"\0" + found.body.encode()).digest() == leaf,
        "page": _page_of(found.subject, place),
        "bytes": len(found.body.encode()),
    }
    return render.page(request, "audit/entry.html", context)


def may_read(place: Place, found: models.Entry) -> bool:
    """Whether this person reads this entry here."""
    return sight.may_read(place.principal, place.workspace.id, found)


@require_POST
@frame.page("audit_export", at="audit")
def export(request: HttpRequest, place: Place) -> HttpResponseBase:
    """Exactly the filtered entries as a file, streamed. That it was taken away is entered first, and is not in it."""
    asked, problems = _asked(request.POST.dict())
    kind = request.POST.get("format", "")
    if kind not in MEDIA or problems:
        raise Http404
    with tenancy.within(place.organisation.id):
        found, _ = _entries(place, asked, _names(place))
        newest = found.first()
        log.append("audit.exported", by=place.principal, workspace=place.workspace.id, detail={**asked, "format": kind})
    until = timezone.now()
    rows = found.filter(Q(at__lt=newest.at) | Q(at=newest.at, id__lte=newest.id)) if newest else found.none()
    facts = {
        "zone": "UTC",
        "exported": until.isoformat(),
        "workspace": place.workspace.slug,
        **{WORDS.get(n, n): v for n, v in asked.items()},
    }
    return StreamingHttpResponse(
        exports.pieces(place.organisation.id, rows, kind=kind, facts=facts),
        content_type=MEDIA[kind],
        headers={"Content-Disposition": f'attachment; filename="audit-{until:%Y%m%dT%H%M%SZ}.{kind}"', "Cache-Control": "no-store"},
    )


def _drawn(given: dict[str, str]) -> tuple[int, str]:
    """(how many entries are to be drawn, by which seed); 0 where no sample is asked for."""
    number = given.get("sample", "").strip()[:6]
    wanted = int(number) if number.isascii() and number.isdecimal() else 0
    return min(wanted, MOST_DRAWN), "".join(letter for letter in given.get("seed", "").strip()[:64] if letter.isprintable())


def _fixed(asked: dict[str, str], seed: str) -> dict[str, str] | None:
    """The end of the range and the seed that an address needs so that it draws the same again; None where it has them."""
    last, until = timezone.now() - SETTLES, lists.moment(asked.get("until", ""))
    if seed and until is not None and until <= last:
        return None
    return {"seed": seed or secrets.token_hex(4), "until": asked["until"] if until and until <= last else f"{last:%Y-%m-%dT%H:%M:%S}"}


def _asked(given: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """(the filters that say something, what is wrong with them)."""
    asked = {name: given[name].strip()[:200] for name in FILTERS if given.get(name, "").strip()}
    wrong = [
        f"“{asked[name]}” is no time; write 2026-11-21 or 2026-11-21T14:30, in UTC."
        for name in ("since", "until")
        if name in asked and lists.moment(asked[name]) is None
    ]
    wrong += ["A filter holds a character that no entry can hold." for name in asked if "\0" in asked[name]][:1]
    return asked, wrong


def _qualified(given: dict[str, str]) -> dict[str, str]:
    """What was typed into the box, as filters: `actor:olga event:cap.set "duplicate charge"`."""
    asked, found = {name: given[name] for name in FILTERS if given.get(name, "").strip()}, terms.read(given["q"], QUALIFIERS)
    asked |= {QUALIFIERS[term.name]: term.value for term in found if term.name}
    words = [term.value for term in found if not term.name]
    return asked | ({"text": " ".join(words)} if words else {})


def _entries(place: Place, asked: dict[str, str], names: dict[str, str]) -> tuple[Any, Any]:
    """The entries that this person may read here and the filters leave."""
    by_name = {name: identifier for identifier, name in names.items()}
    plain = {name: asked.get(name, "") for name in ("event", "outcome", "kind", "subject", "run", "text")}
    wanted = search.Wanted(
        **plain,
        actor=by_name.get(asked.get("actor", ""), asked.get("actor", "")),
        since=lists.moment(asked.get("since", "")),
        until=lists.moment(asked.get("until", "")),
    )
    return search.entries(wanted, scope=sight.entries(place.principal, place.workspace.id))


def _facets(numbers: search.Numbers, asked: dict[str, str], names: dict[str, str]) -> list[tuple[str, list[tuple[str, int, str, bool]]]]:
    """(title, [(word, how many, the query string with it, whether it is on)]); what is on is taken off by its link."""

    def one(name: str, found: list[tuple[str, int]], words: dict[str, str], value: str = "{}") -> list[tuple[str, int, str, bool]]:
        said = []
        for key, number in found:
            full = value.format(key)
            is_on = asked.get(name) in {full, words.get(key, key)}
            rest = {other: text for other, text in asked.items() if other != name}
            said.append((words.get(key, key), number, urlencode(rest if is_on else rest | {name: full}), is_on))
        return said

    return [
        ("Outcome", one("outcome", numbers.outcomes, events.OUTCOMES)),
        ("What it is about", one("event", numbers.families, {}, "{}.*")),
        ("Done by", one("kind", numbers.kinds, KINDS)),
        ("Who", one("actor", numbers.actors, names)),
    ]


def _bars(numbers: search.Numbers, asked: dict[str, str]) -> list[tuple[int, int, int, search.Bar, str]]:
    """(left, top and height in a drawing 40 high, the bar, the query string that narrows to it)."""
    most = max((bar.number for bar in numbers.bars), default=1) or 1
    drawn = []
    for number, bar in enumerate(numbers.bars):
        height = -(-40 * bar.number // most)
        narrowed = asked | {"since": f"{bar.since:%Y-%m-%dT%H:%M:%S}", "until": f"{bar.until:%Y-%m-%dT%H:%M:%S}"}
        drawn.append((number, 40 - height, height, bar, urlencode(narrowed)))
    return drawn


def _fields(now: dict[str, Any], was: dict[str, Any], place: Place) -> list[tuple[str, Any, Any, bool, str]]:
    """(name, before, now, whether it differs, the page of the thing that the value names)."""
    found = []
    for name in sorted({*now, *was} - {"before", "before_period"}):
        earlier = was.get(name)
        if earlier is None:
            earlier = now.get(BEFORE.get(name, ""))
        value = now.get(name)
        found.append(
            (name, earlier, value, earlier is not None and earlier != value, _page_of(value if isinstance(value, str) else "", place))
        )
    return found


def _page_of(identifier: str, place: Place) -> str:
    """Where the thing of that id can be looked at, below the workspace's root; nothing for what has no page, or none for this person."""
    page = PAGES[identifier.partition("-")[0]] if _ID.fullmatch(identifier) else ""
    opens = page and place.may("agents_view" if page == "stops" else f"{page}_view")
    return f"{page}/{identifier}" if opens else ""


def _key(entry: models.Entry) -> str:
    return lists.packed(entry.at.isoformat(), entry.id)


def _names(place: Place) -> dict[str, str]:
    """Whom this page can name: the people, and the workspace's agents."""
    return contracts.slugs(place.workspace.id) | organisations.names()


def _grouped() -> list[tuple[str, list[str]]]:
    """The catalogue by what its events are about."""
    groups: dict[str, list[str]] = {}
    for name in events.CATALOGUE:
        groups.setdefault(name.partition(".")[0], []).append(name)
    return sorted(groups.items())


def _chips(asked: dict[str, str]) -> list[tuple[str, str, str]]:
    """(filter, value, the address without it)."""
    return [
        (WORDS.get(name, name), value, "?" + urlencode({other: text for other, text in asked.items() if other != name}))
        for name, value in asked.items()
    ]
