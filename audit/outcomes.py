"""Refused: the one shape of every "no". Each refusal is a subclass with a stable code, beside the function that raises it."""

from typing import Any, ClassVar


class Refused(Exception):
    """Says what was refused, by which rule, where the limit stood and what to do next. Doors map `code` to their own status."""

    code: ClassVar[str] = "refused"

    def __init__(
        self,
        message: str,
        *,
        rule: str = "",
        current: Any = None,
        limit: Any = None,
        who: str = "",
        next_step: str = "",
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.current = current
        self.limit = limit
        self.who = who
        self.next_step = next_step
        self.details = {name: plain(value) for name, value in details.items()}

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe. A detail never replaces one of the named facts."""
        return {
            **self.details,
            "code": self.code,
            "message": self.message,
            "rule": self.rule,
            "current": plain(self.current),
            "limit": plain(self.limit),
            "who": self.who,
            "next": self.next_step,
        }


def plain(value: Any) -> Any:
    """The value as JSON types any peer can hold: containers copied, floats, large integers and foreign types as text."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return int(value)
    return str.__str__(value) if isinstance(value, str) else str(value)
