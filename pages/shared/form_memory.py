"""What a visitor has set in the forms, kept by the server and by the browser.

The server loses a session when it is restarted or hears nothing of a browser for two minutes. The page stays open: its
browser sends all widgets that are on it with the next message, and what it has counts. The rest, the settings of other
engines and pages and the pictures given, it holds in a field that is on every page and shown to nobody.

A page that is loaded again is empty. So when one is left, its tab keeps what that field has, and what is typed in the
prompt by then, until the tab is closed; the next page sends it in that field, marked, and it is taken over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import streamlit as st

_FIELD = "form_memory"
_AGAIN = "again"  # what marks the memory of the page that was in this tab before
_KEEP = Path(__file__).with_name("form_memory.js")
_NOT_ASSIGNED = "form_not_assigned"


def remembered() -> dict[str, Any]:
    """Values of all form widgets by key; they outlive a visit to another page, as widget state does not."""
    values: dict[str, Any] = st.session_state.setdefault("form", {})
    return values


def given_defaults() -> dict[str, Any]:
    """What each widget was last given as its default, by key; None where it shows a value of its own."""
    given: dict[str, Any] = st.session_state.setdefault("form_defaults", {})
    return given


def kept(key: str, default: Any) -> Any:
    """What a widget is to be drawn with as its default, and nothing else; where it was before, it shows that again.

    Streamlit tells the browser a value of st.session_state once, in the run that sets it; where the next run comes
    first, on a busy machine, an empty widget would be drawn and sent back. And in a new session under an open page a
    value set there would wipe out what the browser has. So only what this session knows for certain is set.
    """
    if key in st.session_state:
        return st.session_state[key]
    if key in remembered() and key not in _not_assigned():
        value = remembered()[key]
        st.session_state[key] = value if _alike(value, default) else default
        return st.session_state[key]
    _not_assigned().discard(key)
    value = remembered().get(key, default)
    return value if _alike(value, default) else default


def undrawn(key: str, default: Any) -> Any:
    """What a widget would be drawn with, where it is not drawn."""
    value = st.session_state.get(key, remembered().get(key, default))
    return value if _alike(value, default) else default


def preset(values: dict[str, Any]) -> None:
    """Fill the form with these widget values by key, when it is drawn next."""
    remembered().update(values)
    _not_assigned().difference_update(values)
    for key in values:
        st.session_state.pop(key, None)


def recall() -> bool:
    """In the first run of a session: take over what the browser has kept; whether this was that run.

    Its field cannot be filled in the run that has read it. Its place is the same in every run: what follows would be
    made anew by the browser, and an open list would close.
    """
    place = st.container(key="memory_read")
    if "form" in st.session_state:
        _take_over(st.session_state.get(_FIELD) or "")
        return False
    with place:
        there = _read(_field(""))
        st.html(f"<script>{_KEEP.read_text()}</script>", unsafe_allow_javascript=True)
    remembered().update(there.get("form", {}))
    given_defaults().update(there.get("defaults", {}))
    # The browser may have changed since, so these are shown only where it has no value.
    st.session_state[_NOT_ASSIGNED] = set(remembered())
    return True


def _take_over(text: str) -> None:
    """What the page before this one had, where the browser has just sent that."""
    if f'"{_AGAIN}"' not in text[-20:]:
        return
    there = _read(text)
    given_defaults().update(there.get("defaults", {}))
    preset(there.get("form", {}))


def write() -> None:
    """At the end of every other run: give the browser what is remembered by now."""
    text = json.dumps({"form": remembered(), "defaults": given_defaults()}, separators=(",", ":"))
    if st.session_state.get(_FIELD, text) != text:
        st.session_state[_FIELD] = text
    with st.container(key="memory_written"):
        _field(text)


def _field(text: str) -> str:
    return st.text_input("What the form keeps", text, key=_FIELD, label_visibility="collapsed") or ""


def _read(text: str) -> dict[str, dict[str, Any]]:
    """What a browser says it has been told; nothing where it is anything else."""
    try:
        there = json.loads(text)
        json.dumps(there, ensure_ascii=False, allow_nan=False).encode()  # nothing that no widget can be sent with
    except (ValueError, RecursionError):
        return {}
    return there if isinstance(there, dict) and all(isinstance(one, dict) for one in there.values()) else {}


def _not_assigned() -> set[str]:
    keys: set[str] = st.session_state.setdefault(_NOT_ASSIGNED, set())
    return keys


def _alike(value: Any, default: Any) -> bool:
    """Whether a widget with this default can show the value: another version of the studio may have written it."""
    if value is None or default is None:
        return default is None or value is default or isinstance(value, (int, float, str, type(None)))
    if isinstance(default, (bool, str, list)):
        return type(value) is type(default)
    return not isinstance(default, (int, float)) or (isinstance(value, (int, float)) and not isinstance(value, bool))
