"""The API call behind a page, as a command that anybody may paste: the token is a variable, never a real one."""

import shlex
from urllib.parse import quote, urlencode

from django.http import HttpRequest

# Pages whose noun the API lists, and those where it shows one, too.
LISTED = frozenset({"approvals", "runs", "agents", "tools", "policies", "budgets", "audit", "members", "stops"})
SHOWN = frozenset({"approvals", "runs", "agents", "policies", "audit"})
# What a list's page and its API call may both be asked for, under the same name.
SHARED = {"runs": ("state", "agent"), "audit": ("event", "actor", "subject", "run", "since", "until")}


def behind(request: HttpRequest, root: str, workspace: str) -> str:
    """The command for this page; nothing for a page that no single call stands behind."""
    noun, _, identifier = request.path.removeprefix(f"{root}/").partition("/")
    if "/" in identifier or noun not in (SHOWN if identifier else LISTED):
        return ""
    path = f"/api/v1/{noun}" + (f"/{quote(identifier)}" if identifier else "")
    query = {} if identifier and noun != "agents" else {"workspace": workspace}
    query |= {name: request.GET[name] for name in SHARED.get(noun, ()) if request.GET.get(name) and not identifier}
    address = request.build_absolute_uri(path) + (f"?{urlencode(query)}" if query else "")
    return f'curl -H "Authorization: Bearer $REMIT_TOKEN" {shlex.quote(address)}'
