"""Cedar text as single statements with their lines, and how deeply each one nests.

The engine parses by recursion on the thread's stack: a few hundred brackets, or operators in a row, end the whole process
with a segmentation fault that no `except` can catch. So the depth is bounded here, before the engine sees a character.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

DEEPEST = 60  # a thread with a 2 MiB stack still parses twice this; the engine's own tree stops at 100
_LONGEST = 32 * 1024

# As Cedar's lexer reads them: comments end at a line feed or a carriage return, a string may run over lines.
_TOKEN = re.compile(r'//[^\n\r]*|"(?:[^"\\]|\\.)*"|&&|\|\||::|[=!<>]=|\w+|\S', re.DOTALL)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_NESTING = frozenset({"&&", "||", "+", "-", "*", "!", "if"})  # each may put the rest of its expression one level deeper
_COMPARING = frozenset({"==", "!=", "<=", ">=", "<", ">"})  # they do not chain


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    line: int
    fault: str = ""  # why the engine must not be shown it


@dataclass(slots=True)
class _Level:
    """One open bracket: an upper bound of how deep the tree below it can be."""

    deepest: int = 0
    operators: int = 0
    accesses: int = 0  # the longest `a.b.c` so far
    run: int = 0
    child: int = 0

    def depth(self) -> int:
        return max(self.deepest, self.operators + max(self.accesses, self.run) + self.child)

    def next_item(self) -> None:
        """A comma: what follows nests beside what came before, not below it."""
        self.deepest = self.depth()
        self.operators = self.accesses = self.run = self.child = 0


@dataclass(slots=True)
class _Nesting:
    levels: list[_Level] = field(default_factory=lambda: [_Level()])

    def add(self, word: str) -> None:
        level = self.levels[-1]
        if word in _OPENING:
            self.levels.append(_Level())
        elif word in _CLOSING and len(self.levels) > 1:
            self.levels.pop()
            outer = self.levels[-1]
            outer.child = max(outer.child, level.depth() + 1)
        elif word == ",":
            level.next_item()
        elif word == ".":
            level.run += 1
        elif word in _NESTING:
            level.operators += 1
            level.accesses, level.run = max(level.accesses, level.run), 0
        elif word in _COMPARING:
            level.accesses, level.run = max(level.accesses, level.run), 0

    def depth(self) -> int:
        return sum(level.depth() for level in self.levels)


def split(text: str) -> Iterator[Statement]:
    """The statements of a policy text, each from its first token to its semicolon. Never fails: faults travel with the statement."""
    start: int | None = None
    nesting, broken = _Nesting(), False
    end = 0
    for match in _TOKEN.finditer(text):
        word = match.group()
        if word.startswith("//"):
            continue
        start = match.start() if start is None else start
        end = match.end()
        broken = broken or word == '"'  # a string that never ends
        nesting.add(word)
        if word == ";":
            yield _statement(text, start, end, "a string is not closed" if broken else _fault(nesting, end - start))
            start, nesting, broken = None, _Nesting(), False
    if start is not None:
        yield _statement(text, start, end, "a string is not closed" if broken else "a semicolon is missing at the end")


def _statement(text: str, start: int, end: int, fault: str) -> Statement:
    return Statement(text[start:end], line=text.count("\n", 0, start) + 1, fault=fault)


def _fault(nesting: _Nesting, length: int) -> str:
    if length > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if nesting.depth() > DEEPEST:
        return f"nests more than {DEEPEST} levels deep: use a set and contains, or several policies"
    return ""
