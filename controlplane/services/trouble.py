"""The one way this package says no: a line of cause and a line that fixes it."""

from __future__ import annotations


class CannotStart(Exception):
    """Something outside Remit stands in the way. `remedy` is a command, ready to be pasted."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
