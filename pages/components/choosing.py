"""Choosing several pictures of the gallery, to be taken home, kept or deleted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from db.artefacts import Artefact
from db.boards import FAVOURITES, MAX_NAME
from db.jobs import Job, State
from pages.components import deleting
from pages.shared.download import download_button
from pages.shared.errors import plain_errors
from pages.shared.files import files_of
from pages.shared.language import _, ngettext
from pages.shared.studio import the_studio
from pages.shared.text import label, short
from studio import access, gallery
from studio import deleting as deletion
from studio.context import Submitter
from studio.refine import packed

_ON, _CHOSEN = "gallery_choosing", "gallery_chosen"
MAX_CHOSEN = 200  # pictures that are taken home in one file
MAX_BYTES = 200 << 20  # of that file: it is made in memory


def is_on() -> bool:
    """Whether a tap on a picture chooses it."""
    return bool(st.session_state.get(_ON))


def begin() -> None:
    """The button that begins to choose, or ends it."""
    if is_on():
        st.button(_("Done"), icon=":material/check:", type="tertiary", key="choose_no_more", on_click=_end)
    else:
        st.button(_("Choose several"), icon=":material/check_box:", type="tertiary", key="choose", on_click=_begin)


def bar(shown: Sequence[Job], files: Mapping[str, Mapping[str, Artefact]], visitor: Submitter) -> None:
    """How many are chosen, on this page and others, and what becomes of them."""
    jobs = _jobs(visitor)
    chosen = _chosen()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="choosing_bar"):
        st.text(ngettext("{n} chosen", "{n} chosen", len(chosen)))
        there = [job.id for job in shown if "picture" in files[job.id]]
        st.button(_("All on this page"), icon=":material/select_all:", key="choose_all", on_click=_add, args=(there,))
        none = not chosen
        size = sum(one["picture"].size for one in files_of(chosen).values() if "picture" in one)
        download_button(
            _("Download"),
            partial(_packed, tuple(chosen), visitor),  # read when it is asked for
            file_name="pictures.zip",
            mime="application/zip",
            key="download_chosen",
            disabled=none or size > MAX_BYTES,
            help=_("At most {most} MB at once.", most=MAX_BYTES >> 20) if size > MAX_BYTES else None,
        )
        st.button(
            _("Favourite"),
            icon=":material/favorite_border:",
            key="favour_chosen",
            disabled=none,
            on_click=_put,
            args=(visitor, FAVOURITES),
        )
        with st.popover(_("Board"), icon=":material/dashboard:", disabled=none):
            for name in gallery.boards_of(the_studio(), visitor):
                if name != FAVOURITES:
                    st.button(label(name), key=f"board_chosen_{name}", on_click=_put, args=(visitor, name))
            key = "new_board_chosen"
            st.text_input(
                _("Put on a new board"), key=key, max_chars=MAX_NAME, on_change=_put_on_new, args=(visitor, key)
            )
        board = st.query_params.get("board") or (FAVOURITES if st.query_params.get("whose") == "favourites" else None)
        if board is not None:
            st.button(
                _("Take off here"),
                icon=":material/remove_circle_outline:",
                key="take_chosen",
                disabled=none,
                on_click=_take,
                args=(visitor, board),
            )
        own = [job.id for job in jobs if deletion.may_delete(visitor, job)]
        with st.popover(_("Delete"), icon=":material/delete:", disabled=not own):
            st.text(ngettext("{n} of them is yours and goes.", "{n} of them are yours and go.", len(own)))
            st.caption(deleting.what_goes())
            deleting.for_good("delete_chosen", _delete, own, visitor)


def tile(job: Job) -> None:
    """The button over a picture that chooses it or takes it back."""
    chosen = job.id in _chosen()
    if chosen:
        st.html('<span class="t2i-marked"></span>')
    st.button(
        ("✓ " if chosen else "") + label(short(job.prompt)),
        key=f"choose_{job.id}",
        type="tertiary",
        width="stretch",
        on_click=_turn,
        args=(job.id,),
    )


def _chosen() -> list[str]:
    found: list[str] = st.session_state.setdefault(_CHOSEN, [])
    return found


def _begin() -> None:
    st.session_state[_ON] = True
    _chosen().clear()


def _end() -> None:
    st.session_state[_ON] = False


def _turn(job_id: str) -> None:
    if job_id in _chosen():
        _chosen().remove(job_id)
    else:
        _add([job_id])


def _add(job_ids: Sequence[str]) -> None:
    new = [job_id for job_id in job_ids if job_id not in _chosen()]
    if len(_chosen()) + len(new) > MAX_CHOSEN:
        st.toast(_("At most {most} pictures are chosen at once.", most=MAX_CHOSEN))
    _chosen().extend(new[: MAX_CHOSEN - len(_chosen())])


def _jobs(visitor: Submitter) -> list[Job]:
    """The chosen ones; what was removed, hidden or deleted since is no longer among them."""
    found = access.those_seen(the_studio(), visitor, _chosen())
    st.session_state[_CHOSEN] = [job.id for job in found]
    return found


def _packed(job_ids: tuple[str, ...], visitor: Submitter) -> bytes:
    files = files_of(list(job_ids))
    there = access.those_seen(the_studio(), visitor, job_ids)
    jobs = [job for job in there if job.state == State.SUCCEEDED and "picture" in files[job.id]]
    return packed(the_studio(), visitor, [(job, files[job.id]["picture"]) for job in jobs])


def _put(visitor: Submitter, board: str) -> None:
    with plain_errors():
        _jobs(visitor)
        gallery.keep(the_studio(), visitor, _chosen(), board)
        _said(board)


def _said(board: str) -> None:
    st.toast(_("They are on the board {name}.", name=label(board)) if board else _("They are among your favourites."))


def _put_on_new(visitor: Submitter, key: str) -> None:
    typed = st.session_state.get(key) or ""
    if typed.strip():
        _put(visitor, typed)
        st.session_state[key] = ""


def _take(visitor: Submitter, board: str) -> None:
    with plain_errors():
        gallery.take_away(the_studio(), visitor, _chosen(), board)
        _chosen().clear()


def _delete(job_ids: list[str], visitor: Submitter) -> None:
    for job_id in job_ids:
        deleting.delete_job(job_id, visitor)
        _chosen().remove(job_id)
