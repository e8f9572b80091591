"""Deleting what is one's own from a page: a job with its picture, also by its link, and pictures that were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from db.artefacts import Artefact
from db.jobs import LIVE, Job
from pages.components.picture import draw_picture
from pages.shared.address import for_visitors
from pages.shared.errors import plain_errors, problem
from pages.shared.files import forget_files, load
from pages.shared.language import _, ngettext
from pages.shared.navigation import INFERENCES
from pages.shared.studio import the_settings, the_studio
from studio import deleting, given
from studio.context import Submitter

_LINK = "delete"  # in the address of a job
_SAID = "deleted_said"


def popover(job: Job, visitor: Submitter) -> None:
    """The button Delete of a job of theirs, what it does, and the link that does it later."""
    if not deleting.may_delete(visitor, job):
        return
    with st.popover(_("Delete"), icon=":material/delete:"):
        own(job, visitor)
        address = _address(job.id) if job.state not in LIVE else None
        if address is not None:
            st.caption(_("Or keep this link: whoever opens it can delete this picture, also from another device."))
            st.code(address, language=None, wrap_lines=True)


def own(job: Job, visitor: Submitter, place: str = "") -> None:
    """Where the job is theirs: what is deleted with it, and the button that does it."""
    if deleting.may_delete(visitor, job):
        st.caption(what_goes())
        for_good(f"delete_{place}{job.id}", delete_job, job.id, visitor, None)


def by_link(job_id: str, visitor: Submitter) -> bool:
    """Where the address is such a link: the question, once. Whether it is one."""
    link = st.query_params.get(_LINK)
    if link is None:
        return False
    with plain_errors():
        if not _is_of(link, job_id):
            problem(_("This link deletes nothing here: it is not whole, or of another studio."))
            return True
        with st.container(border=True, key="delete_by_link"):
            st.subheader(_("Delete this picture?"), anchor=False)
            st.text(what_goes())
            with st.container(horizontal=True, gap="small"):
                for_good("delete_by_link_now", delete_job, job_id, visitor, link)
                st.button(_("Keep it"), key="delete_by_link_not", on_click=_keep)
    return True


def said() -> None:
    """What a click has deleted, on the page that it led to."""
    text = st.session_state.pop(_SAID, None)
    if text:
        st.success(text, icon=":material/check:")


def pictures_given(visitor: Submitter) -> None:
    """The pictures they have given, each with a way to delete it; nothing where there are none."""
    pictures = given.listed(the_studio(), visitor)
    if not pictures:
        return
    with st.expander(
        ngettext("The picture you gave", "The {n} pictures you gave", len(pictures)), icon=":material/photo_library:"
    ):
        st.caption(
            _(
                "Nobody else is shown these. They are kept until you delete them or the host ends the event; what was "
                "made from them stays."
            )
        )
        with st.grid("auto", min_column_width=110, key="pictures_given"):
            for one in pictures:
                _given(one, visitor)


def _given(one: Artefact, visitor: Submitter) -> None:
    with st.container(key=f"tile_given_{one.id}"):
        draw_picture(load(one), key=f"own_{one.id}", alt=_("A picture you gave"), instead=_("No picture"))
        with st.popover(_("Delete"), icon=":material/delete:", width="stretch"):
            st.text(_("Pictures that wait to be drawn from it, or are being drawn, fail."))
            for_good(f"delete_given_{one.id}", _delete_given, one.id, visitor, icon=None)


def for_good(key: str, delete: Callable[..., None], *args: Any, icon: str | None = ":material/delete_forever:") -> None:
    """The button that deletes, under the words that say what goes."""
    st.button(_("Delete it for good"), key=key, icon=icon, type="primary", on_click=delete, args=args)


def what_goes() -> str:
    """What is deleted with a job, and what stays."""
    return _(
        "The picture, its animation, its prompt and its settings go, and pictures you gave for it alone. Votes on it "
        "are withdrawn. What was made from it stays. This cannot be undone."
    )


def _is_of(link: str, job_id: str) -> bool:
    try:
        return deleting.job_of_link(the_studio(), link) == job_id
    except deleting.BadLink:
        return False


def _address(job_id: str) -> str | None:
    page = Path(INFERENCES).stem
    root = for_visitors(st.context.url, the_settings().public_url, page)
    if root is None:
        return None
    return f"{root.rstrip('/')}/{page}?job={job_id}&{_LINK}={deleting.link_for(the_studio(), job_id)}"


def delete_job(job_id: str, visitor: Submitter, link: str | None = None) -> None:
    """From a callback: delete a job of theirs, or with its link anybody's; what stands against it is said."""
    with plain_errors():
        deleting.delete_job(the_studio(), visitor, job_id, link)
        forget_files()
        for name in ("job", _LINK):
            st.query_params.pop(name, None)
        st.session_state[_SAID] = _("The picture is deleted.")


def _delete_given(artefact_id: str, visitor: Submitter) -> None:
    with plain_errors():
        deleting.delete_given(the_studio(), visitor, artefact_id)
        forget_files()
        st.session_state[_SAID] = _("The picture is deleted.")


def _keep() -> None:
    st.query_params.pop(_LINK, None)
