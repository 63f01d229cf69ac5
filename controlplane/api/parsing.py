"""Bodies are strict JSON and nothing else: one media type, one parser, one limit."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from audit import strict
from controlplane.api import errors

MAX_BODY = 1 << 20
MAX_LOAD = 8 << 20  # of bulk loads, such as the directory
JSON = "application/json"


def of_bytes(raw: bytes, content_type: str, *, max_bytes: int = MAX_BODY) -> Any:
    """The value of a body. Raises UnsupportedMediaType or strict.Malformed."""
    kind, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"') or "utf-8"
    if kind.strip().lower() != JSON or charset not in {"utf-8", "utf8"}:
        raise errors.UnsupportedMediaType(
            "The body must be JSON in UTF-8.",
            rule="content type",
            current=content_type[:100],
            limit=JSON,
            next_step=f"Send `Content-Type: {JSON}`.",
        )
    if max_bytes <= MAX_BODY:
        return strict.parse(raw, max_bytes=max_bytes)
    return strict.parse(raw, max_bytes=max_bytes, max_keys=200_000, max_array=200_000)


class StrictJSON(BaseParser):
    """For the REST doors. `max_bytes` is the parser context's, or 1 MiB."""

    media_type = JSON

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        max_bytes = int((parser_context or {}).get("max_bytes", MAX_BODY))
        return of_bytes(stream.read(max_bytes + 1), media_type or "", max_bytes=max_bytes)
