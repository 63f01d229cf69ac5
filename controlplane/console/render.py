"""The only place that looks at htmx's headers: the page, or one of its named fragments."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template
from django.utils.cache import patch_vary_headers

from audit import outcomes

# How a refusal answers on a page; REST has the full table.
STATUS = {
    "not_found": 404,
    "forbidden": 403,
    "not_eligible": 403,
    "already_decided": 409,
    "plan_changed": 412,
    "cap_changed": 412,
    "expired": 410,
    "reason_needed": 422,
    "fresh_sign_in": 403,
    "no_more_time": 409,
    "too_many_rounds": 409,
    "stopped": 423,
}


def load() -> None:
    """Compile the templates of every page, so that no visitor waits for one."""
    folder = settings.BASE_DIR / "templates"
    for path in sorted(folder.rglob("*.html")):
        get_template(str(path.relative_to(folder)))


def page(request: HttpRequest, template: str, context: dict[str, Any], *, fragment: str = "", status: int = 200) -> HttpResponse:
    """Render the page, or only its named fragment when htmx asked for a swap. The server names the fragment."""
    swap = bool(fragment) and request.headers.get("HX-Request") == "true" and request.headers.get("HX-History-Restore-Request") != "true"
    response = render(request, f"{template}#{fragment}" if swap else template, context, status=status)
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    return response


def status_of(refused: outcomes.Refused) -> int:
    """The HTTP status of a refusal on a page."""
    return STATUS.get(refused.code, 422)
