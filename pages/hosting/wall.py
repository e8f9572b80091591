"""The wall, for the host: the way to it, and where they want to be asked, what waits for their word."""

from __future__ import annotations

import streamlit as st

from db.artefacts import Artefact
from db.evening.wall import MAX_COUNTED
from db.jobs import Job
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.hosting.queue import called, engine_called
from pages.hosting.sign_in import is_host, the_host
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import _, ngettext
from pages.shared.navigation import KIOSK
from pages.shared.studio import house_rules, the_studio
from pages.shared.text import esc, short
from pages.shared.visitor import names_of
from studio import wall

REFRESH_S = 2.0
SHOWN = 12
_DECIDED = "wall_decided"  # the pictures of the last decision, to be taken back
_SHOWN = "wall_shown"  # those of the row, which keep their places: a key must not meet what has just come


def open_wall() -> None:
    """A button that opens the wall in a tab of its own, to be moved onto the projector."""
    st.link_button(_("Open the wall"), f"./{KIOSK}", icon=":material/open_in_new:")


def wall_section() -> None:
    """Whether the host wants to be asked, and the row of what waits; it refreshes by itself."""
    with plain_errors(for_host=True):
        asked = house_rules().wall_approval
        st.session_state["host_wall_approval"] = asked  # a program with a host key may have set it
        st.toggle(
            _("Show on the wall only what I have approved"),
            key="host_wall_approval",
            on_change=_ask,
            help=_(
                "Finished pictures wait here until you let them onto the wall, and what forms is there as a number "
                "alone. Gallery, votes and sheets have all of them as before."
            ),
        )
        if not asked:
            st.caption(_("The wall shows what forms and what is finished, but for what you hide."))
            return
    st.fragment(_waiting, run_every=REFRESH_S)()


def _ask() -> None:
    with plain_errors(for_host=True):
        wall.set_approval(the_studio(), the_host(), bool(st.session_state["host_wall_approval"]))


def _waiting() -> None:
    with plain_errors(for_host=True):
        if not is_host():
            st.rerun()
        kept = st.session_state.get(_SHOWN, [])
        found, count = wall.waiting(the_studio(), the_host(), limit=SHOWN, kept=kept)
        st.session_state[_SHOWN] = shown = [job.id for job in found]
        _head(shown, count)
        if not found:
            empty_state(_("Nothing waits"), _("Pictures come here as soon as they are finished."))
            return
        files, names = files_of([job.id for job in found]), names_of(found)
        with st.grid("auto", min_column_width=170, key="wall_waiting"):
            for place, job in enumerate(found):
                with st.container(key=f"wall_waits_{job.id}", gap="xsmall"):
                    _one(job, files[job.id], names, first=place == 0)


def _head(shown: list[str], count: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        waits = (
            _("{n} or more wait for the wall", n=count)
            if count >= MAX_COUNTED
            else ngettext("{n} waits for the wall", "{n} wait for the wall", count)
        )
        keys = _("Keys: A approves the first one, N keeps it off the wall, Shift+A approves all that are shown.")
        st.html(
            f'<div class="t2i-prompt">{esc(waits)}</div>'
            f'<div class="t2i-meta" role="status">{esc(_("New ones come in at the end."))} '
            f'<span class="t2i-keys">{esc(keys)}</span></div>',
        )
        with st.container(horizontal=True, width="content"):
            st.button(
                _("Undo"),
                key="wall_undo",
                icon=":material/undo:",
                type="tertiary",
                disabled=not st.session_state.get(_DECIDED),
                on_click=_undo,
            )
            st.button(
                ngettext("Approve {n}", "Approve all {n}", len(shown)) if shown else _("Approve all"),
                key="wall_approve_all",
                icon=":material/done_all:",
                disabled=not shown,
                shortcut="Shift+A",
                on_click=_decide,
                args=(True, *shown),
            )


def _one(job: Job, files: dict[str, Artefact], names: dict[str, str], first: bool) -> None:
    picture = load(files.get("thumbnail") or files.get("picture"))
    draw_picture(picture, key=f"wall_{job.id}", alt=job.prompt, instead=_("No picture"))
    # At the same height for all, whatever is below: the hand stays where it is.
    st.button(
        _("Approve"),
        key=f"wall_approve_{job.id}",
        icon=":material/check:",
        type="primary",
        width="stretch",
        shortcut="A" if first else None,
        on_click=_decide,
        args=(True, job.id),
    )
    st.button(
        _("Not on the wall"),
        key=f"wall_decline_{job.id}",
        width="stretch",
        shortcut="N" if first else None,
        on_click=_decide,
        args=(False, job.id),
    )
    st.html(
        f'<div class="t2i-prompt">{esc(short(job.prompt, 60))}</div>'
        f'<div class="t2i-meta">{esc(called(job.submitter, names))} · {esc(engine_called(job.engine))}</div>'
    )


def _decide(on_wall: bool, *job_ids: str) -> None:
    with plain_errors(for_host=True):
        (wall.approve if on_wall else wall.decline)(the_studio(), the_host(), *job_ids)
        st.session_state[_DECIDED] = job_ids


def _undo() -> None:
    with plain_errors(for_host=True):
        wall.reconsider(the_studio(), the_host(), *st.session_state.pop(_DECIDED, ()))
