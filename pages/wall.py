"""Wall: for the projector. What forms, large; its film once it is finished; the newest and best-voted pictures beside
it; the way in for phones; a slow show of the best where nobody is there. Nothing to press.

The page hands a description of what is to be seen to the script beside it, which fades from one picture to the next.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import streamlit as st

from db.evening import wall
from db.queue import workers
from pages.hosting.sign_in import the_host
from pages.projection.view import view
from pages.shared.address import for_visitors, is_for_itself, qr_code, with_code
from pages.shared.errors import plain_errors
from pages.shared.language import _
from pages.shared.navigation import KIOSK, show
from pages.shared.studio import house_rules, the_settings, the_studio
from pages.shared.text import duration, esc
from studio.admission import link_code, needs_code
from studio.limits import code_asked_for

_HERE = Path(__file__).resolve().parent
# A later one may say more of what an earlier one has.
_SHEETS = ("wall.css", "wall_stage.css", "wall_beside.css", "wall_screens.css")
# No sign of the server for this long, in s and in refreshes: the page is loaded again as soon as the server answers.
SILENT_S, SILENT_REFRESHES = 4.0, 5
FRESH_S = 1800.0  # loaded again this often in any case: browsers keep something of every picture that was there


def page() -> None:
    """Refreshes by itself, and comes back by itself when the server was away."""
    for sheet in _SHEETS:
        st.html(_HERE / "shared" / sheet)
    refresh_s = the_settings().wall_refresh_s
    with st.container(key="wall"):
        st.html('<div class="t2i-wall"></div>')
    with st.container(key="wall_script"):
        st.html(_watch(max(SILENT_S, SILENT_REFRESHES * refresh_s)), unsafe_allow_javascript=True)
        st.html(f"<script>{(_HERE / 'shared' / 'wall.js').read_text()}</script>", unsafe_allow_javascript=True)
    opened, public = st.context.url, the_settings().public_url
    alone = is_for_itself(opened, public, st.get_option("server.address"))
    address = None if alone else for_visitors(opened, public, KIOSK)
    st.fragment(_wall, run_every=refresh_s)(address, alone)


def _watch(silent_s: float) -> str:
    """Reloads the page when it has been open for long, or when the beat that every refresh draws has stopped; but only
    while the server answers, since a browser's own page of errors would stay."""
    return f"""<script>(() => {{
        if (window.t2iWall) return;
        let beat = null, heard = Date.now();
        const opened = Date.now();
        window.t2iWall = setInterval(async () => {{
            const path = location.pathname.replace(/\\/$/, "");
            const now = document.querySelector("[data-beat]")?.dataset.beat ?? null;
            if (!path.endsWith("/{KIOSK}")) return;
            if (now !== beat) {{ beat = now; heard = Date.now(); }}
            const silent = Date.now() - heard, open = Date.now() - opened;
            if (silent < {1000 * silent_s:.0f} && open < {1000 * FRESH_S:.0f}) return;
            try {{
                const health = path.replace(/{KIOSK}$/, "_stcore/health");
                if ((await fetch(health, {{cache: "no-store"}})).ok) location.reload();
            }} catch {{ /* the server is still away */ }}
        }}, 2000);
    }})();</script>"""


def _wall(address: str | None, alone: bool) -> None:
    # Drawn first: the page is alive even where the database is not.
    with st.container(key="wall_beat"):
        st.html(f'<div data-beat="{time.time():.1f}"></div>')
    with plain_errors():
        memory = st.session_state
        drawn, stage, places, running = view(memory.get("wall_stage"), memory.get("wall_places", []), time.monotonic())
        memory["wall_stage"], memory["wall_places"] = stage, places
        drawn["side"] = _side(address, alone, running)
        with st.container(key="wall_state"):
            st.html(f'<div data-wall="{esc(as_json(drawn))}"></div>')


def as_json(drawn: dict[str, Any]) -> str:
    """Without angle brackets: what cleans HTML in the browser takes an attribute that holds "-->" or a tag for one that
    is meant to do harm, and visitors write what they like."""
    text = json.dumps(drawn, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def _side(address: str | None, alone: bool, running: int) -> dict[str, Any]:
    """The way in, and how long the line is."""
    waiting, wait = wall.line(the_studio().db)
    if house_rules().paused:
        state = _("The host has paused the queue: what is asked for waits.")
    elif not workers.live(the_studio().db):
        state = _("No executor is running; what is asked for waits.")
    elif not waiting:
        state = "" if running else _("A new picture starts at once.")
    elif wait is None:
        state = _("The next ones start when an executor is free.")
    else:
        state = _("The last of them starts in about {duration}.", duration=duration(wait))
    side: dict[str, Any] = {
        "counts": [[running, _("forming")], [waiting, _("waiting")]],
        "state": state,
        "invite": _("Scan, write what you want to see, watch it form here."),
    }
    if alone:
        side["invite"] = _("Only this machine can open the studio.")
        side["note"] = _("For phones to find it, start it with --host 0.0.0.0.")
    elif address is None:
        side["invite"] = ""
    else:
        # Everybody can open this page: the code is for a wall that was opened with it, or by the host.
        code = None if needs_code(the_studio(), the_host()) else code_asked_for(the_studio())
        side["qr"] = qr_code(address if code is None else with_code(address, link_code(the_studio())))
        side["alt"] = _("QR code of {address}", address=address)
        side["address"] = address.removeprefix("http://").rstrip("/")
        side["code"] = None if code is None else [_("Code"), code]
    return side


if __name__ == "__main__":
    show(page)
