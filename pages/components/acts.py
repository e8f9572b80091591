"""What can be done with a job from its card, at one tap."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import streamlit as st

from db.artefacts import Artefact
from db.boards import FAVOURITES
from db.jobs import Job, State
from generator import registry
from pages.components import collecting, deleting, form, sharing
from pages.components.lineage import make_variations
from pages.shared import form_memory
from pages.shared.errors import plain_errors
from pages.shared.language import _
from pages.shared.navigation import INFERENCES, go_to
from pages.shared.studio import the_settings, the_studio
from studio import submit
from studio.context import Submitter
from studio.engines import makes
from studio.file_names import file_name
from studio.limits import engines_that_vary, is_offered
from studio.upscale import upscale
from studio.vary import engine_for

DISMISSED, MAX_DISMISSED = "dismissed", 100


def draw(
    job: Job,
    picture: Artefact | None,
    data: bytes | None,
    visitor: Submitter,
    *,
    on: Collection[str] = (),
    boards: Iterable[str] = (),
    place: str = "",
) -> None:
    """A row of buttons, each a sign with its words for those who point at it or listen.

    data: of the picture. on: which of their boards it is on; boards: all of them. place: what tells two rows for a job
    apart.
    """
    act = partial(_act, job, place)
    kind = "acts" if job.state == State.SUCCEEDED else "few"
    with st.container(horizontal=True, gap="xxsmall", vertical_alignment="center", key=f"{kind}_{place}{job.id}"):
        if job.state in (State.QUEUED, State.RUNNING):
            act("cancel", _("Cancel"), "close", partial(cancel, job.id, visitor), disabled=job.cancel_requested)
        elif job.state == State.SUCCEEDED:
            _of_a_finished_one(job, picture, data, visitor, on, boards, place)
        else:
            drawn = makes(job.engine) == "drawing"
            if drawn and picture is not None:
                act("go_on", _("Go on from here"), "step_over", partial(_fill, job, visitor, picture))
            if drawn:
                act("edit", _("Edit and try again"), "edit", partial(_fill, job, visitor))
            act("dismiss", _("Take off this page"), "close", partial(_dismiss, job.id))


def _of_a_finished_one(
    job: Job,
    picture: Artefact | None,
    data: bytes | None,
    visitor: Submitter,
    on: Collection[str],
    boards: Iterable[str],
    place: str,
) -> None:
    act, drawn, kept = partial(_act, job, place), makes(job.engine) == "drawing", FAVOURITES in on
    if picture is not None and not job.hidden:
        words = _("Take from the favourites") if kept else _("Favourite")
        sign = "favorite" if kept else "favorite_border"
        act("kept" if kept else "keep", words, sign, partial(collecting.put, job.id, visitor, FAVOURITES, not kept))
    if drawn:
        act("again", _("Again, with a new seed"), "refresh", partial(_again, job, visitor))
    if picture is not None and engines_that_vary(the_studio()):
        act("vary", _("Vary"), "shuffle", partial(_vary, job, picture, visitor))
    if picture is not None and is_offered(the_studio(), "upscale"):
        act("upscale", _("Upscale"), "zoom_out_map", partial(_upscale, job, picture, visitor))
    if picture is not None and drawn:
        act("start", _("Start from this"), "add_photo_alternate", partial(_fill, job, visitor, picture))
    if picture is not None and data is not None:
        st.download_button(
            _("Download"),
            data,  # its address stays; that of a file read when it is asked for changes with every look
            file_name=file_name(job, picture),
            mime=picture.media_type,
            key=f"download_{place}{job.id}",
            icon=":material/download:",
            type="tertiary",
            help=_("Download"),
            on_click="ignore",
        )
    key, sign = f"more_{place}{job.id}", ":material/more_horiz:"
    more = st.popover(_("More"), icon=sign, type="tertiary", help=_("More"), key=key, on_change="rerun")
    with more, st.container(key=f"room_{place}{job.id}"):  # as high as what comes, so that it opens where that fits
        act("details", _("Details"), "list_alt", partial(go_to, INFERENCES, job=job.id))
        if more.open:  # a dozen cards are drawn at every look, and one of them at most is looked into
            _more(job, picture, visitor, on, boards, place)


def _more(
    job: Job,
    picture: Artefact | None,
    visitor: Submitter,
    on: Collection[str],
    boards: Iterable[str],
    place: str,
) -> None:
    act = partial(_act, job, place)
    if makes(job.engine) == "drawing":
        act("edit", _("Edit the settings"), "edit", partial(_fill, job, visitor))
    if picture is not None and the_settings().search_clip:
        act("alike", _("Find pictures like this"), "image_search", partial(go_to, INFERENCES, like=job.id))
    if picture is not None and not job.hidden:
        collecting.boards_of(job, visitor, place, on, boards)
        sharing.link(job)
    deleting.own(job, visitor, place)


def dismissed() -> list[str]:
    """The jobs that were taken off the page, the newest last."""
    kept = form_memory.remembered().get(DISMISSED)
    return [one for one in kept if isinstance(one, str)] if isinstance(kept, list) else []


def _act(
    job: Job, place: str, name: str, words: str, sign: str, call: Callable[[], Any], *, disabled: bool = False
) -> None:
    st.button(
        words,
        key=f"{name}_{place}{job.id}",
        icon=f":material/{sign}:",
        type="tertiary",
        help=words,
        disabled=disabled,
        on_click=call,
    )


def cancel(job_id: str, visitor: Submitter) -> None:
    """Ask for a job's end; what stands against it is shown as one sentence."""
    with plain_errors():
        submit.cancel(the_studio(), visitor, job_id)


def _fill(job: Job, visitor: Submitter, picture: Artefact | None = None) -> None:
    form.preset_from(job, visitor, picture=picture)
    st.session_state["form_changed"] = True


def _again(job: Job, visitor: Submitter) -> None:
    with plain_errors():
        submit.run_again(the_studio(), visitor, job)
        st.toast(_("In the queue."))


def _vary(job: Job, picture: Artefact, visitor: Submitter) -> None:
    with plain_errors():
        make_variations(job, picture, visitor, engine_for(the_studio(), job))


def _upscale(job: Job, picture: Artefact, visitor: Submitter) -> None:
    checkpoint = registry.ENGINES["upscale"].checkpoints[0]
    with plain_errors():
        upscale(the_studio(), visitor, job, picture, checkpoint=checkpoint)
        st.toast(_("In the queue."))


def _dismiss(job_id: str) -> None:
    form_memory.remembered()[DISMISSED] = [*dismissed(), job_id][-MAX_DISMISSED:]
    st.session_state["form_changed"] = True
