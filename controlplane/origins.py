"""Where a request came from, for the log: its door, its address and its id. What a client says about itself is cut, never trusted."""

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from audit import ids
from audit.origin import Origin

HEADER = b"x-request-id"
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_DOORS = (("/api/", "api"), ("/mcp", "mcp"), ("/live/", "live"))


def of(scope: Mapping[str, Any]) -> Origin:
    """The origin of a request. An `X-Request-ID` that reads like an id is kept, so that one id goes through a proxy and us."""
    path = scope["path"]
    door = next((name for prefix, name in _DOORS if path.startswith(prefix)), "pages")
    given = forwarded = b""
    for name, value in scope["headers"]:
        if name == HEADER:
            given = value
        elif name == b"x-forwarded-for":
            forwarded = value
    request = given.decode() if _ID.fullmatch(given) else ids.new("REQ")
    return Origin(door, _address(scope, forwarded), request)


def _address(scope: Mapping[str, Any], forwarded: bytes) -> str:
    """The peer; behind our own proxy what it wrote last, which is what it saw itself."""
    if settings.BEHIND_PROXY and forwarded:
        return forwarded.decode("latin-1").rpartition(",")[2].strip()[:45]
    client = scope.get("client")
    return str(client[0])[:45] if client else ""
