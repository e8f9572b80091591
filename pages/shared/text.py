"""User text shown as plain text, and times in words."""

from __future__ import annotations

import html
import math
import re
import time
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from db.wording import duration as duration_of
from pages.shared.language import _, ngettext, number


def esc(text: object) -> str:
    """Text for st.html: tags and quotes are inert."""
    return html.escape(str(text))


def label(text: str) -> str:
    """Text for a label or message, which Streamlit reads as Markdown: every mark is shown as it was typed."""
    escaped = re.sub(r"([\\\\`*_{}\[\]()#+.!|<>~$:&=^-])", r"\\\1", text.replace("\n", " "))
    # An invisible word joiner keeps :heart:, ->, addresses and the like from being replaced after the parsing.
    return re.sub(r"([:<>=@-]|www(?=\\\.))", "\\1\u2060", escaped, flags=re.IGNORECASE)


def short(text: str, length: int = 80) -> str:
    """The text, cut at a word where it is longer than `length` characters."""
    if len(text) <= length:
        return text
    return text[:length].rsplit(" ", 1)[0].rstrip(" ,.;:") + "…"


def quoted(text: str) -> str:
    """Text that stands inside a sentence: marks in it that turn the direction of writing end with it."""
    return f"\u2068{text}\u2069"


def size(count: int) -> str:
    """Bytes in words: 12 kB, 3.4 MB, 120 MB, 1.2 GB."""
    if count < 1e6:
        return f"{number(math.ceil(count / 1e3), 'd')} kB"
    value, unit = (count / 1e9, "GB") if count >= 1e9 else (count / 1e6, "MB")
    return f"{number(value, '.1f' if value < 10 else '.0f')} {unit}"


def duration(seconds: float) -> str:
    """About how long, in words: 8 s, 3 min, 2 h."""
    if seconds < 36 * 3600:
        return duration_of(seconds)
    return ngettext("{n} day", "{n} days", round(seconds / 86400))


def plain(value: Any) -> str:
    """A setting's value for people: on and off, lists with commas, none."""
    if isinstance(value, bool):
        return _("on") if value else _("off")
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value))
    return _("none") if value is None else str(value)


def moment(at: float) -> str:
    """A time in UTC s by the clock of whoever looks, or of UTC where their browser's is not known."""
    zone: tzinfo | None = None
    with suppress(KeyError, ValueError, OSError):  # a name that nobody here knows
        zone = ZoneInfo(st.context.timezone) if st.context.timezone else None
    when = datetime.fromtimestamp(at, zone or UTC).strftime("%d %b %Y, %H:%M")
    return when if zone else f"{when} UTC"


def ago(at: float) -> str:
    """How long ago a time in UTC s was: just now, 3 min ago."""
    passed = time.time() - at
    return _("just now") if passed < 5 else _("{duration} ago", duration=duration(passed))
