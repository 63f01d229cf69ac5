"""What may arrive: bodies and queries that name nothing unknown and mean what they say. No text becomes a number, no number a text."""

import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from django.http import QueryDict
from rest_framework import serializers

from audit import strict
from controlplane.api import errors

SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
LARGEST = 2**53 - 1
LONGEST_KEY = 255


class UnknownField(errors.BadRequest):
    code = "unknown_field"


class InvalidRequest(errors.BadRequest):
    code = "invalid_request"


class InvalidIdempotencyKey(errors.BadRequest):
    code = "invalid_idempotency_key"


def idempotency_key(given: str | None) -> str:
    """The key, or nothing when none was sent. Raises InvalidIdempotencyKey."""
    if given is None:
        return ""
    if not 0 < len(given) <= LONGEST_KEY or not all("!" <= character <= "~" for character in given):
        raise InvalidIdempotencyKey(
            "An Idempotency-Key is 1 to 255 visible ASCII characters.",
            rule="idempotency key",
            current=f"{len(given)} characters",
            limit=LONGEST_KEY,
            next_step="Send a UUID.",
            pointer="Idempotency-Key",
        )
    return given


def unknown(pointer: str, *, known: Iterator[str] | list[str]) -> UnknownField:
    """The refusal of a member that nobody asked for."""
    return UnknownField(
        f"Nothing is known of {pointer}.",
        rule="named fields only",
        current=pointer,
        limit=", ".join(sorted(known)) or "no fields",
        next_step="Leave it out.",
        pointer=pointer,
    )


def invalid(pointer: str, message: str, *, got: Any = "") -> InvalidRequest:
    """One member that is not what it must be."""
    faults = [{"pointer": pointer, "expected": message, "got": got}]
    return InvalidRequest(
        "The request does not fit.",
        rule="the shape of this request",
        current="1 fault",
        limit="0 faults",
        next_step="Correct what the faults name.",
        faults=faults,
    )


class Text(serializers.CharField):
    """A string, kept as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "max_length": 4000, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("a string")
        return str(super().to_internal_value(data))


class Slug(Text):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 63, **options})
        self.validators.append(serializers.RegexField(SLUG).validators[-1])


class Whole(serializers.IntegerField):
    """A whole number. 1.0 is one; "1" and true are not."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_value": 0, "max_value": LARGEST, **options})

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer() and abs(data) <= LARGEST:
            data = int(data)
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError("a whole number")
        return int(super().to_internal_value(data))


class Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("true or false")
        return data


class Choice(serializers.ChoiceField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise serializers.ValidationError("a string")
        return super().to_internal_value(data)


class _Strict(serializers.Serializer[Any]):
    """Refuses what it does not name."""

    where = "/"

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping):
            for name in data:
                if name not in self.fields:
                    raise unknown(f"{self.where}{escaped(str(name))}", known=list(self.fields))
        return dict(super().to_internal_value(data))


class Body(_Strict):
    """A JSON object."""


class Query(_Strict):
    """The parameters after the question mark, each at most once. Pointers to them begin with `?`."""

    where = "?"


class Empty(Body):
    """No fields. The body may be left out."""


class InWorkspace(Body):
    """`workspace` may be left out where there is only one."""

    workspace = Text(required=False, max_length=63)


class OfWorkspace(Query):
    """`workspace` may be left out where there is only one."""

    workspace = Text(required=False, max_length=63)


def checked(kind: type[_Strict], given: Any) -> dict[str, Any]:
    """What the serializer makes of the input. Raises UnknownField or InvalidRequest with every fault."""
    serializer = kind(data=given)
    if serializer.is_valid():
        return dict(serializer.validated_data)
    _refuse(serializer.errors, kind.where)


def _refuse(found: Any, where: str) -> NoReturn:
    faults = [
        {"pointer": where if pointer == "" and where == "?" else pointer.replace("/", where, 1), "expected": message, "got": ""}
        for pointer, message in _faults(found, "")
    ][:10]
    raise InvalidRequest(
        "The request does not fit: " + "; ".join(f"{fault['pointer']}: {fault['expected']}" for fault in faults)[:600],
        rule="the shape of this request",
        current=f"{len(faults)} faults",
        limit="0 faults",
        next_step="Correct what the faults name.",
        faults=faults,
    )


def _faults(found: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(found, Mapping):
        for name, inner in found.items():
            yield from _faults(inner, pointer if name == "non_field_errors" else f"{pointer}/{escaped(str(name))}")
    elif isinstance(found, list):
        for inner in found:
            yield from _faults(inner, pointer)
    else:
        yield pointer, str(found)[:200]


def escaped(name: str) -> str:
    return name[:100].replace("~", "~0").replace("/", "~1")


def query(given: QueryDict, raw: str) -> dict[str, str]:
    """The parameters of an address. Raises strict.NotUtf8, strict.NulCharacter or InvalidRequest for one that comes twice."""
    plain(raw)
    for name, values in given.lists():
        if len(values) > 1:
            raise invalid(f"?{name[:100]}", "once", got=f"{len(values)} times")
    return given.dict()  # type: ignore[return-value]


def plain(raw: str) -> None:
    """Refuses percent-encoded text that is not UTF-8 or holds a NUL."""
    found = urllib.parse.unquote_to_bytes(raw)
    try:
        found.decode("utf-8")
    except UnicodeDecodeError:
        raise strict.NotUtf8("The address is not UTF-8.", pointer="?") from None
    if b"\0" in found:
        raise strict.NulCharacter("The address holds a NUL character.", pointer="?")


def plain_path(path: str) -> None:
    """Refuses a path that holds a NUL or half of a surrogate pair."""
    if "\0" in path:
        raise strict.NulCharacter("The address holds a NUL character.", pointer="path")
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise strict.LoneSurrogate("The address holds half of a surrogate pair.", pointer="path") from None
