"""Which pages there are, in which order, and what stands on each. docs/README.md is the table of contents; nothing else is ever opened."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from markdown_it.token import Token

from controlplane.docs import rendering, tables

CONTENTS = "README.md"


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `slug` is its path below /docs, such as how-to/caps."""

    slug: str
    title: str
    about: str

    @property
    def address(self) -> str:
        return f"/docs/{self.slug}"


@dataclass(frozen=True, slots=True)
class Section:
    """One of the four kinds of pages."""

    title: str
    pages: tuple[Page, ...]


def folder() -> Path:
    return Path(settings.BASE_DIR) / "docs"


@functools.cache
def sections() -> tuple[Section, ...]:
    """The table of contents: every heading of the second level with the list below it."""
    found: list[tuple[str, list[Page]]] = []
    tokens = rendering.parse(_text(CONTENTS))
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            found.append((tokens[at + 1].content, []))
        elif token.type == "inline" and found and tokens[at - 1].type == "paragraph_open" and tokens[at - 2].type == "list_item_open":
            found[-1][1].append(_listed(token))
    return tuple(Section(title, tuple(pages)) for title, pages in found)


def _listed(item: Token) -> Page:
    link, *rest = item.children or []
    title = rest[0].content
    about = "".join(child.content for child in rest[2:]).lstrip(": ")
    return Page(str(link.attrs["href"]).removesuffix(".md"), title, about)


@functools.cache
def pages() -> Mapping[str, Page]:
    """Every page by its slug, in reading order."""
    return {page.slug: page for section in sections() for page in section.pages}


def neighbours(page: Page) -> tuple[Page | None, Page | None]:
    """The pages before and after this one."""
    order = list(pages().values())
    at = order.index(page)
    return (order[at - 1] if at else None), (order[at + 1] if at + 1 < len(order) else None)


@functools.cache
def read(slug: str) -> rendering.Text:
    """A page's text, made once in the life of a process: neither the files nor the code change under it."""
    return rendering.render(tables.fill(_text(f"{slug}.md")), slug)


def _text(name: str) -> str:
    return (folder() / name).read_text(encoding="utf-8")
