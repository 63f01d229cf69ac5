"""Which page of the handbook explains which page of the console. The link stands in the same place on each (WCAG 3.2.6)."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

PAGES = {
    "overview": "tutorials/first-approval",
    "approvals": "how-to/approve",
    "runs": "how-to/read-run",
    "agents": "tutorials/first-agent",
    "connect": "how-to/connect-mcp",
    "tools": "how-to/wrap-rest-api",
    "permissions": "explanation/tiers",
    "policies": "how-to/rules",
    "budgets": "how-to/caps",
    "audit": "how-to/export-audit",
    "members": "reference/roles",
    "health": "reference/metrics",
    "stops": "how-to/stop",
}


@register.simple_tag
def help(at: str, look: str = "btn ghost hide-s") -> SafeString:
    """The link to the page about this one; to the contents where there is none. It opens beside the page: nothing typed is lost."""
    slug = PAGES.get(at, "")
    return format_html('<a class="{}" href="/docs{}" target="_blank" rel="help">Help</a>', look, f"/{slug}" if slug else "")
