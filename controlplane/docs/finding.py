"""Finding a page by words of its headings."""

from dataclasses import dataclass

from controlplane.docs import shelf

MOST = 40
LONGEST = 80


@dataclass(frozen=True, slots=True)
class Found:
    """A heading with the words, and the page it is on."""

    address: str
    words: str
    page: str


def find(asked: str) -> list[Found]:
    """Headings that hold every word; a word of the page's title or of what it is about counts too. Titles come first."""
    words = asked[:LONGEST].lower().split()
    if not words:
        return []
    titles, places = [], []
    for page in shelf.pages().values():
        around = f"{page.title} {page.about}".lower()
        if all(word in around for word in words):
            titles.append(Found(page.address, page.title, ""))
        for heading in shelf.read(page.slug).headings:
            line = heading.words.lower()
            if any(word in line for word in words) and all(word in line or word in around for word in words):
                places.append(Found(f"{page.address}#{heading.anchor}", heading.words, page.title))
    return (titles + places)[:MOST]
