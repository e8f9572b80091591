"""Keeping a picture: among one's favourites, and on boards with names."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import streamlit as st

from db.boards import FAVOURITES, MAX_NAME
from db.jobs import Job
from pages.shared.errors import plain_errors
from pages.shared.language import _
from pages.shared.studio import the_studio
from pages.shared.text import label
from studio import gallery
from studio.context import Submitter


def put(job_id: str, visitor: Submitter, board: str, kept: bool) -> None:
    """Keep a picture on a board of theirs, or take it from there; what stands against it is shown as one sentence."""
    with plain_errors():
        if kept:
            gallery.keep(the_studio(), visitor, [job_id], board)
        else:
            gallery.take_away(the_studio(), visitor, [job_id], board)


def boards_of(job: Job, visitor: Submitter, place: str, on: Collection[str], boards: Iterable[str]) -> None:
    """Their boards, those that the picture is on ticked, and a field for a new one."""
    for name in boards:
        if name != FAVOURITES:
            st.checkbox(
                label(name),
                name in on,
                key=f"board_{place}{job.id}_{name in on}_{name}",
                on_change=put,
                args=(job.id, visitor, name, name not in on),
            )
    key = f"new_board_{place}{job.id}"
    st.text_input(
        _("Put on a new board"),
        key=key,
        max_chars=MAX_NAME,
        placeholder=_("its name"),
        on_change=_begin,
        args=(job.id, visitor, key),
    )


def manage(visitor: Submitter, board: str) -> None:
    """Beside a board's pictures: another name for it, or no board any more."""
    with st.popover(_("Board"), icon=":material/edit:", key="manage_board"):
        key = f"rename_board_{board}"
        st.text_input(
            _("Another name"),
            key=key,
            max_chars=MAX_NAME,
            placeholder=board,
            on_change=_rename,
            args=(visitor, board, key),
        )
        st.caption(_("Its pictures stay in the gallery when the board goes."))
        sign = ":material/delete:"
        st.button(_("Take the board away"), key="take_board", icon=sign, on_click=_take_board, args=(visitor, board))


def _rename(visitor: Submitter, board: str, key: str) -> None:
    typed = (st.session_state.get(key) or "").strip()
    if typed:
        with plain_errors():
            st.query_params["board"] = gallery.rename_board(the_studio(), visitor, board, typed)


def _take_board(visitor: Submitter, board: str) -> None:
    with plain_errors():
        gallery.take_board(the_studio(), visitor, board)
        st.query_params.pop("board", None)


def _begin(job_id: str, visitor: Submitter, key: str) -> None:
    typed = st.session_state.get(key) or ""
    if typed.strip():
        put(job_id, visitor, typed, True)
        st.session_state[key] = ""
