"""The ways between the pages as a bar under the thumb, shown on phones."""

from __future__ import annotations

import streamlit as st

from pages.shared.language import _
from pages.shared.navigation import (
    COMPARE,
    GENERATION,
    HOST,
    INFERENCES,
    LEADERBOARD,
    MODELS,
    QUEUE,
    REFINE,
    SHEETS,
    TRAIN,
    VOTES,
)
from pages.shared.studio import has_host


def show() -> None:
    """Four pages and, in a fold, the others; where the screen is wider the menu at the top has them all."""
    with st.container(key="thumb_bar", horizontal=True):
        st.page_link(GENERATION, label=_("Draw"), icon=":material/brush:")
        st.page_link(REFINE, label=_("Refine"), icon=":material/auto_awesome:")
        st.page_link(INFERENCES, label=_("Gallery"), icon=":material/photo_library:")
        st.page_link(VOTES, label=_("Vote"), icon=":material/how_to_vote:")
        more = st.popover(_("More"), icon=":material/more_horiz:", type="tertiary", key="thumb_more", on_change="rerun")
        if not more.open:  # every page has this bar, and few are left by it
            return
        with more:
            st.page_link(COMPARE, label=_("Compare"), icon=":material/compare:")
            st.page_link(SHEETS, label=_("Sheets"), icon=":material/grid_view:")
            st.page_link(LEADERBOARD, label=_("Leaderboard"), icon=":material/leaderboard:")
            st.page_link(QUEUE, label=_("Queue"), icon=":material/hourglass:")
            st.page_link(TRAIN, label=_("Train"), icon=":material/model_training:")
            st.page_link(MODELS, label=_("Models"), icon=":material/deployed_code:")
            if has_host():
                st.page_link(HOST, label=_("Host"), icon=":material/admin_panel_settings:")
