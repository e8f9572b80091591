"""A large file that was dropped on a page: it waits on the disk while the rest of its form is filled in."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path

import streamlit as st

from pages.shared.language import _, number
from pages.shared.text import label

MAX_MB = 60  # more would not fit in what a session may hold, see pages/shared/unsent.py
MAX_HELD_BYTES = 1 << 30  # of files that were dropped and not kept or let go of yet, in all sessions


class Dropped:
    """A file that goes with its session. name: as it was called there; path: where it is now."""

    def __init__(self, name: str, data: memoryview) -> None:
        self.name, self.bytes = name, len(data)
        handle, path = tempfile.mkstemp(prefix="t2i-sent-", suffix=Path(name).suffix[:20])
        self.path = Path(path)
        weakref.finalize(self, self.path.unlink, missing_ok=True)
        with open(handle, "wb") as file:
            file.write(data)


_all: weakref.WeakSet[Dropped] = weakref.WeakSet()


def file(key: str, about: str, kind: str, another: str) -> Dropped | None:
    """The file of this session under this key, or where there is none yet what takes it. kind: its suffix, without a
    dot; about, another: labels of what takes the first and of what takes the next one.

    It is on the disk as soon as it has come: Streamlit's memory holds what no page has read for two minutes only
    (pages/shared/unsent.py), and a name is typed in less or more.
    """
    held: Dropped | None = st.session_state.get(key)
    if held is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/draft: {label(held.name)} ({number(max(held.bytes >> 10, 1), ',')} kB)")
            st.button(
                another, type="tertiary", icon=":material/close:", key=f"{key}_other", on_click=let_go, args=(key,)
            )
        return held
    turn = st.session_state.get(f"{key}_turn", 0)
    sent = st.file_uploader(about, type=kind, max_upload_size=MAX_MB, key=f"{key}_{turn}")
    if sent is None:
        return None
    if sum(one.bytes for one in _all) + sent.size > MAX_HELD_BYTES:
        st.warning(_("Too much is being sent at once; try again in some minutes."), icon=":material/hourglass_top:")
        return None
    try:
        held = Dropped(sent.name, sent.getbuffer())
    except OSError:
        st.warning(_("There is no room for the file on the studio's machine."), icon=":material/disc_full:")
        return None
    _all.add(held)
    st.session_state.update({key: held, f"{key}_turn": turn + 1})
    st.rerun()


def let_go(key: str) -> None:
    """The next run of the page takes another file."""
    st.session_state.pop(key, None)
