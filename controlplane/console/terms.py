"""What a person typed into a list's box, as terms: `agent:x status:failed cost:>0.40 after:2026-11-01 "duplicate charge"`.

Chips, facets and the box write the same text. What it means is the list's matter.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

LONGEST, MOST = 400, 20
_TERM = re.compile(r'(?:(\w+):)?(?:"([^"]*)"|(\S+))')

Value = TypeVar("Value")


class NotUnderstood(ValueError):
    """A term's value cannot be what its name wants; the message says what can."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word or phrase (no name), or one qualifier."""

    name: str
    value: str

    def __str__(self) -> str:
        value = f'"{self.value}"' if not self.value or re.search(r"\s", self.value) or (not self.name and ":" in self.value) else self.value
        return f"{self.name}:{value}" if self.name else value


def read(text: str, names: Collection[str]) -> list[Term]:
    """The terms of a text. What looks like a qualifier and is none is taken as words."""
    found = []
    for name, quoted, bare in _TERM.findall(text[:LONGEST].replace("\0", " ")):
        value = quoted.strip() or bare.replace('"', "")
        if name.lower() in names and value:
            found.append(Term(name.lower(), value))
        elif value:
            found.append(Term("", f"{name}:{value}" if name else value))
    return list(dict.fromkeys(found))[:MOST]


def text(terms: Sequence[Term]) -> str:
    """The text that reads as these terms."""
    return " ".join(map(str, terms))


def without(terms: Sequence[Term], *names: str) -> list[Term]:
    """The terms but those of these names."""
    return [term for term in terms if term.name not in names]


def having(terms: Sequence[Term], name: str, value: str) -> list[Term]:
    """The terms with this one in the place of others of its name; without it when it was there."""
    term = Term(name, value)
    rest = without(terms, name)
    return rest if term in terms else [*rest, term]


def understood(terms: Sequence[Term], meanings: Mapping[str, Callable[[str], Value]]) -> tuple[list[tuple[str, Value]], list[str]]:
    """(each qualifier with what it means, what is wrong with the others)."""
    meant, problems = [], []
    for term in terms:
        if term.name:
            try:
                meant.append((term.name, meanings[term.name](term.value)))
            except NotUnderstood as why:
                problems.append(f"“{term}”: {why}")
    return meant, problems


def one_of(*allowed: str) -> Callable[[str], str]:
    """A meaning that is one of a few words."""

    def meaning(value: str) -> str:
        word = value.lower().replace("-", "_")
        if word not in allowed:
            raise NotUnderstood(f"write one of {', '.join(allowed)}.")
        return word

    return meaning
