"""What surrounds every page: the style sheet, and the scripts that run in the visitor's browser."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.shared.language import _
from pages.shared.visitor import is_kept, the_visitor

_HERE = Path(__file__).resolve().parent
ICON = _HERE / "icon.png"
_SHEETS = ("theme.css", "drawing.css", "sheets.css")  # a later one may say more of what an earlier one has
_DAY_S = 24 * 3600
# Styles are kept among the toasts, and a fragment's toast takes the place of the first: these lie before the sheets.
_TOASTS = 2


def frame() -> None:
    """The style sheets, and what finds a page again that lost its connection."""
    st.session_state["framed"] = True
    for _place in range(_TOASTS):
        st.html("<style>/* A toast comes here. */</style>")
    for sheet in _SHEETS:
        st.html(_HERE / sheet)
    st.fragment(_reconnect, run_every=_DAY_S)()


def say_what_is_forgotten() -> None:
    """Where the browser refuses cookies, so that its visitor is another one after a reload."""
    the_visitor()
    if not is_kept():
        st.info(
            _(
                "This browser keeps no cookies. What you ask for is drawn and stays in the gallery, but once this page "
                "is reloaded or closed it is no longer among your own."
            ),
            icon=":material/cookie_off:",
        )


def _reconnect() -> None:
    """A page with a part that runs by itself, however seldom, is sent whole by its browser as soon as it is connected
    again. So a new session knows what is on the page before anything on it is pressed: Streamlit calls nothing for a
    button that a session has not drawn.
    """


def offer_installing() -> None:
    """So that a phone can keep the studio among its apps, with a notice where the server cannot be reached."""
    root = "/".join(("", *filter(None, str(st.get_option("server.baseUrlPath") or "").split("/")), ""))
    with st.container(key="install_script"):
        st.html(
            f"""<script>if (!document.querySelector('link[rel="manifest"]')) {{
            const head = (tag, names) => document.head.append(Object.assign(document.createElement(tag), names));
            head("link", {{rel: "manifest", href: "{root}manifest.webmanifest"}});
            head("link", {{rel: "apple-touch-icon", href: "{root}icon-192.png"}});
            head("meta", {{name: "theme-color", content: "#0d6b5f"}});
            navigator.serviceWorker?.register("{root}offline.js").catch(() => {{}});
            }}</script>""",
            unsafe_allow_javascript=True,
        )


def scroll_to(key: str, occasion: str) -> None:
    """On a phone, bring the container with this key into view, once per occasion: again while what is above it still
    comes and goes, until a finger moves the page."""
    with st.container(key="scroll_script"):
        st.html(
            f"""<script>/* {occasion} */ if (matchMedia("(max-width: 640px)").matches) {{
            let times = 0;
            const there = () => document.querySelector(".st-key-{key}")?.scrollIntoView({{behavior: "smooth"}});
            const again = setInterval(() => ++times < 4 ? there() : clearInterval(again), 500);
            addEventListener("touchstart", () => clearInterval(again), {{once: true, capture: true}});
            there();
            }}</script>""",
            unsafe_allow_javascript=True,
        )
