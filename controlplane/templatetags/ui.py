"""Icons, times, money, tiers and states: the same everywhere. Values in, escaped markup out."""

import datetime
import json
import re
import unicodedata
import zoneinfo
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from budgets import money

register = template.Library()

PATHS = {
    "home": "M3 11l9-8 9 8v10H3z",
    "inbox": "M4 4h16l2 9v7H2v-7zM2 13h6l1 3h6l1-3h6",
    "runs": "M4 6h10M4 12h16M8 18h12",
    "agent": "M12 3v3M6 8h12v10H6zM9 12h.01M15 12h.01M9 22h6",
    "tool": "M14 7a4 4 0 0 1 5 5L9 22l-4-4 10-10z",
    "grid": "M3 3h7v7H3zM14 3h7v7h-7zM3 14h7v7H3zM14 14h7v7h-7z",
    "policy": "M6 2h9l5 5v15H6zM9 12h7M9 16h7",
    "money": "M12 2v20M17 6H9.5a3.5 3.5 0 0 0 0 7h5a3.5 3.5 0 0 1 0 7H6",
    "receipt": "M5 3h14v18l-3-2-2 2-2-2-2 2-2-2-3 2zM9 8h6M9 12h6",
    "person": "M12 12a5 5 0 1 0 0-10 5 5 0 0 0 0 10zM3 22a9 9 0 0 1 18 0",
    "people": "M8 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM1 21a7 7 0 0 1 14 0M17 11a3 3 0 1 0 0-6M17 14a6 6 0 0 1 6 6",
    "pulse": "M2 12h5l3 8 4-16 3 8h5",
    "shield": "M12 2l8 3v6c0 5-3.4 9.3-8 11-4.6-1.7-8-6-8-11V5z",
    "stop": "M8 2h8l6 6v8l-6 6H8l-6-6V8z",
    "clock": "M12 7v5l3 3M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20z",
    "check": "M4 12l5 5L20 6",
    "cross": "M5 5l14 14M19 5L5 19",
    "arrow": "M5 12h14M13 6l6 6-6 6",
    "loop": "M17 2l4 4-4 4M3 12V9a3 3 0 0 1 3-3h15M7 22l-4-4 4-4M21 12v3a3 3 0 0 1-3 3H3",
    "spin": "M12 2a10 10 0 1 1-10 10",
    "search": "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM15 15l6 6",
    "plug": "M9 2v6M15 2v6M6 8h12v4a6 6 0 0 1-12 0zM12 18v4",
    "copy": "M9 9h11v11H9zM5 15H4V4h11v1",
    "menu": "M4 6h16M4 12h16M4 18h16",
    "keys": "M2 6h20v12H2zM6 10h.01M10 10h.01M14 10h.01M18 10h.01M8 14h8",
    "warn": "M12 3l10 18H2zM12 10v5M12 18h.01",
}
TIERS = {
    "AUTO": ("Auto", "neut", "check"),
    "ONE": ("One human", "warn", "person"),
    "TWO": ("Two humans", "bad", "people"),
    "REFUSED": ("Refused", "bad", "cross"),
}
STATES = {
    # runs
    "QUEUED": ("Queued", "neut", "clock"),
    "RUNNING": ("Running", "info", "spin"),
    "WAITING": ("Waiting for approval", "warn", "person"),
    "SUCCEEDED": ("Succeeded", "ok", "check"),
    "STOPPED": ("Stopped by a person", "bad", "stop"),
    "HANDED_OFF": ("Handed off", "viol", "arrow"),
    # requests and calls
    "OPEN": ("Open", "warn", "person"),
    "APPROVED": ("Approved", "info", "check"),
    "DENIED": ("Denied", "bad", "cross"),
    "EXPIRED": ("Expired", "neut", "clock"),
    "VOID": ("Void", "neut", "warn"),
    "WITHDRAWN": ("Withdrawn", "neut", "cross"),
    "SENT_BACK": ("Sent back", "info", "loop"),
    "APPLIED": ("Done", "ok", "check"),
    "FAILED": ("Failed", "bad", "cross"),
    "REFUSED": ("Refused", "bad", "cross"),
    "HELD": ("Waiting", "warn", "person"),
    "DRAFTED": ("Proposed", "viol", "policy"),
    "ADMITTED": ("Allowed", "info", "check"),
    "SENDING": ("Sending", "info", "spin"),
    "IN_DOUBT": ("In doubt", "warn", "warn"),
    "INTENT": ("Intended", "info", "clock"),
    # agents, tools, policies
    "ACTIVE": ("Active", "ok", "check"),
    "DRAFT": ("Draft", "neut", "policy"),
    "DRIFTED": ("Changed upstream", "warn", "warn"),
    "RETIRED": ("Retired", "neut", "cross"),
    "PAUSED": ("Paused", "warn", "stop"),
    "READ_ONLY": ("Read-only", "info", "check"),
    "NARROW": ("Narrow writes", "warn", "person"),
    "GATED": ("Gated", "neut", "shield"),
    # caps
    "NO_CAP": ("No cap", "neut", "money"),
    "ON_TRACK": ("On track", "ok", "check"),
    "WATCH": ("Watch", "warn", "clock"),
    "OVER_SOON": ("Over soon", "bad", "warn"),
    "REACHED": ("Reached", "bad", "stop"),
}
# Invisible and direction-changing characters are shown as what they are, so that text cannot hide from a reader.
_HIDDEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]")


@register.simple_tag
def icon(name: str, size: int = 16) -> SafeString:
    """One of the line icons; always beside a word."""
    return format_html(
        '<svg width="{0}" height="{0}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"'
        ' stroke-linejoin="round" aria-hidden="true"><path d="{1}"/></svg>',
        size,
        PATHS[name],
    )


@register.simple_tag
def badge(state: str, label: str = "") -> SafeString:
    """A state as icon, word and colour."""
    word, tone, sign = STATES.get(str(state), (str(state).replace("_", " ").capitalize(), "neut", "clock"))
    return format_html('<span class="badge {}-b">{}{}</span>', tone, icon(sign, 12), label or word)


@register.simple_tag
def tier(name: str) -> SafeString:
    """How many humans, as icon, word and colour."""
    word, tone, sign = TIERS.get(str(name), (str(name), "neut", "check"))
    return format_html('<span class="badge {}-b">{}{}</span>', tone, icon(sign, 12), word)


@register.filter
def needed(required: int) -> str:
    """The tier of a number of humans."""
    return {0: "AUTO", 1: "ONE", 2: "TWO"}.get(required, "REFUSED")


@register.filter
def dollars(micros: int | None) -> str:
    """Micro-units as $0.061."""
    return "no cap" if micros is None else money.dollars(micros)


@register.filter
def in_period(micros: int, period: str) -> str:
    """Micro-units as $40.00 a day."""
    return money.in_period(micros, period)


@register.simple_tag
def when(moment: datetime.datetime | None) -> SafeString:
    """A time in UTC with its zone; the browser may say it in the reader's own."""
    if moment is None:
        return mark_safe('<span class="muted">never</span>')
    utc = moment.astimezone(datetime.UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M:%S"), utc.strftime("%d %b %H:%M UTC")
    )


@register.simple_tag
def day(moment: datetime.datetime, zone: str = "UTC") -> SafeString:
    """The day of a time, as 20 Feb 2027; the browser says the time in the reader's own zone, where that may be another day."""
    utc, there = moment.astimezone(datetime.UTC), moment.astimezone(zoneinfo.ZoneInfo(zone))
    said = f"{there.day} {there:%b %Y}"
    return format_html('<time datetime="{}" data-day title="{} UTC">{}</time>', utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M:%S"), said)


@register.simple_tag
def left(until: datetime.datetime) -> SafeString:
    """The time left, by the server's clock."""
    seconds = max(int((until - timezone.now()).total_seconds()), 0)
    return format_html('<span class="num" data-left="{}">{} left</span>', seconds, span(seconds))


@register.filter
def span(seconds: float | None) -> str:
    """A duration in its two largest parts."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole >= 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60}:{whole % 60:02d}" if whole >= 60 else f"{max(seconds, 0):.1f} s" if seconds < 10 else f"{whole} s"


@register.filter
def exact(seconds: float) -> str:
    """A short duration to the hundredth, as rows of a waterfall need it."""
    return f"{seconds:.2f} s" if seconds < 60 else span(seconds)


@register.filter
def thousands(number: int) -> str:
    """18,000"""
    return f"{number:,}"


@register.filter
def tier_word(name: str) -> str:
    """How many humans, as a word."""
    return TIERS.get(str(name), (str(name),))[0]


@register.filter
def ago(moment: datetime.datetime | None) -> str:
    """How long ago, roughly."""
    if moment is None:
        return "never"
    seconds = (timezone.now() - moment).total_seconds()
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {word} ago"
    return "just now"


@register.filter
def visible(text: Any) -> str:
    """Text from outside with its hidden characters made visible. Escaping is the template's."""
    return _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", unicodedata.normalize("NFC", str(text)))


@register.filter
def sentence(text: str) -> str:
    """Words of people ended by a full stop, where they did not end them themselves: more words follow."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


@register.filter
def listed(items: Any) -> str:
    """Names in one line, not yet escaped: `join` escapes, and a filter after it would escape again."""
    return ", ".join(map(str, items or ()))


@register.filter
def either(items: Any) -> str:
    """Names of which one is enough: "Olga, Sam or Priya". Not yet escaped, like `listed`."""
    names = list(map(str, items or ()))
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


@register.filter
def value(found: Any) -> str:
    """A JSON value as people read it: nothing, yes, no, text, or compact JSON."""
    if found is None or found == "":
        return "(empty)"
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, list) and all(isinstance(item, str | int) for item in found):
        return visible(", ".join(map(str, found)) or "(none)")
    return visible(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))


@register.filter
def pretty(found: Any) -> str:
    """JSON over several lines, for a <pre>."""
    return visible(json.dumps(found, ensure_ascii=False, indent=2))


@register.filter
def share(part: int, whole: int | None) -> int:
    """Whole per cent of a cap, for a meter."""
    return min(100 * part // whole, 100) if whole else 0


@register.simple_tag
def meter(part: int, reserved: int, whole: int | None) -> SafeString:
    """Spent and reserved against a cap, drawn by the server. Its numbers stand beside it as text."""
    spent, held = share(part, whole), share(reserved, whole)
    return format_html(
        '<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{0} % spent, {1} % reserved">'
        '<rect width="100" height="8" class="m-all"/><rect width="{0}" height="8" class="m-spent"/>'
        '<rect x="{0}" width="{1}" height="8" class="m-held"/></svg>',
        spent,
        min(held, 100 - spent),
    )
