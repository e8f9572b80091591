"""What lets the first page be seen at once: the browser has the code of all that is on it before it is drawn.

Streamlit's page loads each kind of element at its first use, and React holds back what was late until 300 ms have
passed without anything else being late (FALLBACK_THROTTLE_MS): a page of many kinds stays empty for as long as they
come one after the other. So one of each kind comes first, and is gone before the page is there.
"""

from __future__ import annotations

import time

import streamlit as st

from pages.shared.frame import ICON
from pages.shared.navigation import GENERATION

HEAD_START_S = 0.1  # in which a browser takes the code from its own store
_LOADED = "kinds_loaded"


def load_kinds(*, wanted: bool) -> None:
    """Before anything else of a page; once in a session, where the first page is to be drawn (`wanted`)."""
    room = st.empty()  # always, since all that follows would move
    if not wanted or _LOADED in st.session_state:
        return
    st.session_state[_LOADED] = True
    with room.container(height=1, border=False):
        st.html("<i></i>")
        st.text_area("-", key="kind_text_area")
        st.text_input("-", key="kind_text_input")
        st.number_input("-", key="kind_number_input")
        st.selectbox("-", "-", key="kind_selectbox")
        st.pills("-", "-", key="kind_pills")
        st.button("-", key="kind_button")
        st.file_uploader("-", key="kind_file_uploader")
        st.download_button("-", "-", key="kind_download_button")
        st.page_link(GENERATION, label="-")
        st.image(ICON)
    time.sleep(HEAD_START_S)
    room.empty()
