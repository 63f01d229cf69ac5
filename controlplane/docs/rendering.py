"""Markdown to HTML: CommonMark with tables, headings that can be linked to, and no markup of the author's own."""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROW = 7  # a row of a table ranks below every heading
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True, slots=True)
class Heading:
    """A place on a page that can be linked to."""

    level: int
    anchor: str
    words: str


@dataclass(frozen=True, slots=True)
class Text:
    """A page as it is shown: everything below its title."""

    title: str
    headings: tuple[Heading, ...]
    html: SafeString


def parse(markdown: str) -> list[Token]:
    return _MARKDOWN.parse(markdown)


def render(markdown: str, slug: str) -> Text:
    """The page with this text. Links between files become links between pages."""
    tokens = parse(markdown)
    headings = _anchored(tokens)
    headings += _labelled(tokens, {heading.anchor for heading in headings})
    for token in tokens:
        if token.type in {"fence", "code_block"}:
            token.attrSet("tabindex", "0")  # a box that scrolls must be reachable by keys
            token.info = token.info.partition(" ")[0]
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", address(str(child.attrs["href"]), slug))
    first = headings[0]
    body = [token for at, token in enumerate(tokens) if at > 2]  # the title is the layout's
    # Safe: the text is this repository's own, raw HTML is off, and what tables say is parsed as Markdown like the rest.
    return Text(first.words, tuple(headings[1:]), mark_safe(_MARKDOWN.renderer.render(body, _MARKDOWN.options, {})))  # noqa: S308


def address(target: str, slug: str) -> str:
    """Where a link on the page `slug` leads: ../reference/problems.md#void is /docs/reference/problems#void."""
    path, mark, anchor = target.partition("#")
    if not path.endswith(".md"):
        return target
    return "/docs/" + posixpath.normpath(posixpath.join(posixpath.dirname(slug), path)).removesuffix(".md") + mark + anchor


def anchor(words: str) -> str:
    """As repositories on the web do it: small letters, no punctuation, dashes for spaces."""
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def plain(inline: Token) -> str:
    """What is read of a line."""
    return "".join(child.content for child in inline.children or ())


def _anchored(tokens: Sequence[Token]) -> list[Heading]:
    found = []
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            words = plain(tokens[at + 1])
            found.append(Heading(int(token.tag[1]), anchor(words), words))
            token.attrSet("id", anchor(words))
    return found


def _labelled(tokens: Sequence[Token], taken: set[str]) -> list[Heading]:
    """Cells carry their column's name: a narrow screen shows a row as a list. A row that begins with a name can be linked to."""
    columns: list[str] = []
    rows: list[Heading] = []
    column = 0
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            columns = []
            token.attrs |= {"class": "tbl", "data-stack": ""}
        elif token.type == "th_open":
            columns.append(plain(tokens[at + 1]))
            token.attrSet("scope", "col")
        elif token.type == "tr_open":
            column = 0
        elif token.type == "td_open":
            token.attrSet("data-l", columns[column])
            name = _name(tokens[at + 1])
            if not column and name and anchor(name) not in taken:
                taken.add(anchor(name))
                rows.append(Heading(ROW, anchor(name), name))
                token.attrSet("id", anchor(name))
            column += 1
    return rows


def _name(cell: Token) -> str:
    """What stands in a cell that holds one name and nothing else."""
    inside = cell.children or []
    return inside[0].content if len(inside) == 1 and inside[0].type == "code_inline" else ""
