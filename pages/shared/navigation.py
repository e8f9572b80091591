"""The pages and the ways between them."""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from pages.shared.language import _
from pages.shared.studio import has_host

_HERE = Path(__file__).resolve().parents[1]
GENERATION = str(_HERE / "text_to_image_generation.py")
INFERENCES = str(_HERE / "previous_inferences.py")
VOTES = str(_HERE / "vote_images.py")
LEADERBOARD = str(_HERE / "leaderboard.py")
QUEUE = str(_HERE / "queue_page.py")
SHEETS = str(_HERE / "sheets.py")
COMPARE = str(_HERE / "compare.py")
MODELS = str(_HERE / "models.py")
HOST = str(_HERE / "host.py")
REFINE = str(_HERE / "refine.py")
TRAIN = str(_HERE / "train.py")
WALL = str(_HERE / "wall.py")

# As they stand in addresses.
NAMES = frozenset(
    Path(page).stem
    for page in (
        *(GENERATION, INFERENCES, VOTES, LEADERBOARD, QUEUE, SHEETS),
        *(COMPARE, MODELS, HOST, REFINE, TRAIN, WALL),
    )
)

VIEWED, VIEWED_ON = "viewed", "viewed_on"  # what is open in the viewer, what it is moved among, and over which page
MAX_AMONG = 200  # pictures
KIOSK = "wall"  # the page without menu and title

_led_through = threading.Event()  # by webapp.py: the first run of this process was


def navigation() -> StreamlitPage:
    """The menu of all pages; the page that the address names.

    Until `st.navigation` has been called once in this process, Streamlit takes the files of pages/ for pages of their
    own: an address that names one leads past webapp.py, and what the visitor set there is forgotten at the next click.
    So the first call starts over.
    """
    # No icons: the browser would fetch that of the open page from a font server, for its tab.
    page = st.navigation(
        {
            "": [
                st.Page(GENERATION, title=_("Text-to-Image Generation"), default=True),
                st.Page(INFERENCES, title=_("Previous Inferences")),
            ],
            _("Refine and compare"): [
                st.Page(REFINE, title=_("Refine")),
                st.Page(COMPARE, title=_("Compare")),
                st.Page(SHEETS, title=_("Sheets")),
            ],
            _("Votes"): [
                st.Page(VOTES, title=_("Vote Images")),
                st.Page(LEADERBOARD, title=_("Leaderboard")),
            ],
            _("More"): [
                st.Page(QUEUE, title=_("Queue")),
                st.Page(TRAIN, title=_("Train")),
                st.Page(MODELS, title=_("Models")),
                *([st.Page(HOST, title=_("Host"))] if has_host() else []),
                st.Page(WALL, title=_("Wall"), visibility="hidden"),
            ],
        },
        position="top",
    )
    if not _led_through.is_set():
        _led_through.set()
        _load_and_freeze()
        st.rerun()
    return page


def _load_and_freeze() -> None:
    """What any page needs is loaded now, and kept out of the garbage collector's rounds.

    They took 0.12 s after every run, for modules that live as long as the process: most of the time of most pages.
    How often they come is set in .streamlit/config.toml (postScriptGC).
    """
    ours = (".".join(path.relative_to(_HERE.parent).with_suffix("").parts) for path in _HERE.rglob("*.py"))
    for name in ("pandas", "pyarrow", *ours):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def show(page: Callable[[], None]) -> None:
    """Draw a page inside the frame that webapp.py has drawn, and start over where there is none: see `navigation`."""
    if not st.session_state.pop("framed", False):
        navigation()
        st.rerun()
    page()


def go_to(path: str, **query: str) -> None:
    """From a callback: another page, as soon as the one on show is drawn again (see `go`)."""
    st.session_state.pop(VIEWED, None)
    st.session_state["go_to"] = path, query


def look_at(job_id: str, among: Sequence[str], *, finished: bool = True) -> None:
    """From a callback: open this picture in the viewer; where there is none yet, its own page.

    among: the ids of those beside it, in their order.
    """
    if not finished:
        return go_to(INFERENCES, job=job_id)
    st.session_state[VIEWED] = (job_id, list(among[:MAX_AMONG]))
    st.session_state.pop(VIEWED_ON, None)
    st.session_state["look"] = True


def go() -> None:
    """Leave for the page that a callback has named, if one has; or have the page drawn with the viewer over it."""
    target = st.session_state.pop("go_to", None)
    if target is not None:
        st.switch_page(target[0], query_params=target[1])
    if st.session_state.pop("look", False):  # a picture was opened: the viewer is drawn with the page
        st.rerun()
