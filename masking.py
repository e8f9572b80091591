"""Secrets left out of text that people read: addresses of databases and stores, what drivers say of them, logs.

Beside logs.py at the root: db, logs and telemetry use it, and none of these may import another. A mistyped address is
no address, so nothing of it can be told apart for certain: what is not known to be harmless is hidden.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

HIDDEN = "***"
# Settings of an address that say nothing secret, and what they are like.
_SHOWN = {
    **dict.fromkeys(("host", "dbname", "application_name"), r"[\w.:/,-]*"),
    **dict.fromkeys(("port", "connect_timeout", "timeout", "cached_statements", "check_same_thread"), r"\d{1,5}"),
    **dict.fromkeys(("sslmode", "target_session_attrs", "mode", "uri"), "[a-z-]{1,20}"),
}
# "postgresql://", also with slashes or the colon missing; "user:" is none.
_SCHEME = re.compile(
    r"(?:(?:sqlite|postgres|postgresql|mysql)(?:\+\w+)?(?::|(?=//))|[A-Za-z][A-Za-z0-9+.-]{0,30}:(?=//))/*"
)
_FOLDER = re.compile(r"[\w.\- /\\~+,()]*")
_PLACE = re.compile(r"(?:[\w.\-,]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:/[\w.\-]*)*")


def masked_address(address: str) -> str:
    """The address as it may be logged: its kind, machine and path, without names, passwords and keys.

    Of one that is mistyped only what cannot be a part of a secret is left.
    """
    line = "".join(c if c.isprintable() else "?" for c in address)
    found = _SCHEME.match(line)
    scheme = found[0] if found else ""
    rest = line[len(scheme) :]
    before, at, place = rest.rpartition("@")
    if at and set(before) & set("?#="):  # it may be a password's own
        return f"{scheme}{HIDDEN}"
    main, mark, query = place.partition("?")
    local = not at and not scheme.startswith(("postgres", "mysql"))
    known = bool(scheme or at) or set(main) & set("/.\\")  # else one word, which may be anything
    if not known or not (_FOLDER if local else _PLACE).fullmatch(main):
        main = HIDDEN
    shown = f"{scheme}{HIDDEN}@{main}" if at else f"{scheme}{main}"
    return f"{shown}?{'&'.join(map(_setting, query.split('&')))}" if mark else shown


def _setting(one: str) -> str:
    name, equals, value = one.partition("=")
    if not equals or not re.fullmatch(r"\w+", name):
        return HIDDEN
    return one if re.fullmatch(_SHOWN.get(name, r"(?!)"), value) else f"{name}={HIDDEN}"


def without(text: str, secrets: str, harmless: str = "") -> str:
    """What a driver says, without any piece of `secrets` that is in `harmless` neither: of a mistyped address it may
    have taken a part of the password for the name of a machine."""
    known = set(_pieces(harmless))
    pieces = {piece for one in (secrets, unquote_plus(secrets)) for piece in _pieces(one)}
    for piece in sorted(pieces - known, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)" if len(piece) < 4 else re.escape(piece), HIDDEN, text)
    return masked(text)


def _pieces(address: str) -> list[str]:
    return [piece for piece in re.split(r"[:/@?&=#\s;,'\"\[\]]+", address) if piece]


_NAMED = re.compile(
    r"(?P<name>(?:pass(?:word|wd|phrase)?|pwd|secret|token(?!s)|credential|signature|authorization|cookie|"
    r"(?:api|access|private|account|shared|host)[_-]?(?:key|secret|password))[\w-]*"
    r"[\"']?\s*[=:]\s*(?:b?[\"'])?)(?:(?:bearer|basic)\s+)?(?P<secret>[^\s\"'&;,)}\]]+)",
    re.IGNORECASE,
)
_KNOWN = re.compile(r"\b(t2i_|whsec_|sk-|AKIA|Bearer\s+)[A-Za-z0-9_\-+/=.]{6,}")
_USERINFO = re.compile(r"(?P<before>//)[^\s/\"']*(?:/[^\s/\"'@]*)?@|(?P<name>\b[\w.%+-]+:)(?!//)[^\s\"'@/]+@(?=[\w\[])")


def masked(text: str) -> str:
    """A line of a log or of a traceback, without what stands in it as a password, a key, a token or a user of an
    address."""
    text = _USERINFO.sub(lambda m: f"{m['before'] or m['name']}{HIDDEN}@", text)
    text = _NAMED.sub(lambda m: f"{m['name']}{HIDDEN}", text)
    return _KNOWN.sub(lambda m: f"{m[1]}{HIDDEN}", text)


# An absolute folder, not a part of a web address or of a key of the store; and one of Windows.
_FOLDERS = re.compile(r"(?<![\w:/.~-])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\":;,]+[/\\])+(?=[^\s/\\'\"])")


def for_visitors(text: str) -> str:
    """A sentence as visitors read it: of a file or a folder of this machine its name, without where it is."""
    return _FOLDERS.sub("", masked(text))
