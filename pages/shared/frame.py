"""What surrounds every page: the style sheet, and the scripts that run in the visitor's browser."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.shared.visitor import COOKIE, the_visitor

_HERE = Path(__file__).resolve().parent
_DAY_S = 24 * 3600
_YEAR_S = 365 * _DAY_S


def frame() -> None:
    """The style sheet, and the script that keeps the visitor's id in the browser for a year."""
    st.session_state["framed"] = True
    st.html(_HERE / "theme.css")
    st.fragment(_reconnect, run_every=_DAY_S)()
    me = the_visitor().id
    if st.context.cookies.get(COOKIE) == me:
        return
    # Where the browser refuses the cookie the id goes into the address, so that a reload still finds the jobs.
    script = f"""<script>(() => {{
        if (/(^|; ){COOKIE}=/.test(document.cookie)) return;
        const secure = location.protocol === "https:" ? "; Secure" : "";
        document.cookie = "{COOKIE}={me}; Max-Age={_YEAR_S}; Path=/; SameSite=Lax" + secure;
        if (document.cookie.includes("{COOKIE}=")) return;
        const url = new URL(location.href);
        url.searchParams.set("visitor", "{me}");
        history.replaceState(null, "", url);
    }})();</script>"""
    with st.container(key="visitor_script"):
        st.html(script, unsafe_allow_javascript=True)


def _reconnect() -> None:
    """A page with a part that runs by itself, however seldom, is sent whole by its browser as soon as it is connected
    again. So a new session knows what is on the page before anything on it is pressed: Streamlit calls nothing for a
    button that a session has not drawn.
    """


def close_menu(page: str) -> None:
    """On a phone the menu lies over the page; once it has led to another, it goes."""
    with st.container(key="menu_script"):
        st.html(
            f"""<script>(() => {{
            const first = new URL(performance.getEntriesByType("navigation")[0].name).pathname.split("/").pop();
            const before = window.t2iPage ?? first;
            window.t2iPage = "{page}";
            if (before === "{page}" || !matchMedia("(max-width: 768px)").matches) return;
            document.querySelector(
            '[data-testid="stSidebar"][data-collapsed="false"] [data-testid="stSidebarCollapseButton"] button'
            )?.click();
            }})();</script>""",
            unsafe_allow_javascript=True,
        )


def scroll_to(key: str, occasion: str) -> None:
    """On a phone, bring the container with this key into view, once per occasion."""
    with st.container(key="scroll_script"):
        st.html(
            f"""<script>/* {occasion} */ if (matchMedia("(max-width: 640px)").matches)
            document.querySelector(".st-key-{key}")?.scrollIntoView({{behavior: "smooth"}});</script>""",
            unsafe_allow_javascript=True,
        )
