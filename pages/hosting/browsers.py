"""Which browser it is, in words, as far as it says so itself."""

from __future__ import annotations

from pages.shared.language import N_, _

# The first that is named: browsers name those they descend from as well.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", N_("an iPhone")),
    ("iPad", N_("an iPad")),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", N_("a Mac")),
    ("Linux", "Linux"),
)
_SOME = N_("A browser")
_ON = " on "


def browser_called(agent: str | None) -> str:
    """E.g. Firefox on Linux, in English, as it is kept. agent: the User-Agent header."""
    said = (agent or "")[:1000]
    browser = next((name for sign, name in _BROWSERS if sign in said), _SOME)
    system = next((name for sign, name in _SYSTEMS if sign in said), None)
    return f"{browser}{_ON}{system}" if system else browser


def in_words(called: str) -> str:
    """What `browser_called` has found, in the language of the page."""
    browser, on, system = called.partition(_ON)
    return _("{browser} on {system}", browser=_(browser), system=_(system)) if on else _(browser)
