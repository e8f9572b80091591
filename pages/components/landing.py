"""For who has drawn nothing yet: what others made here, each a way to begin."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from db import queue
from db.artefacts import Artefact
from db.evening import wall
from db.jobs import Job, State
from db.votes import history
from generator import registry
from pages.components import form
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.ratings import standings
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import _
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import label, short
from studio import access
from studio.context import Submitter

SHOWN, BEST, LOOKED_AT = 8, 4, 32
FOUND_S = 5


@dataclass(frozen=True)
class Shown:
    """One of them: the job's id, its prompt and its picture, small where there is that."""

    id: str
    prompt: str
    picture: Artefact


def show(visitor: Submitter) -> None:
    """The best-voted and newest pictures; a tap fills the form with the words and settings of one."""
    found = _found(the_settings().database_url)
    visible = history.seen(the_studio().db, [one.id for one in found])
    shown = [one for one in found if one.id in visible][:SHOWN]
    if not shown:
        empty_state(_("Nothing drawn yet"), _("Write what you want to see and press Generate. The picture forms here."))
        return
    st.caption(_("Tap a picture to begin with its words and settings."))
    with st.grid("auto", min_column_width=155, key="landing"):
        for one in shown:
            with st.container(key=f"tile_landing_{one.id}"):
                draw_picture(load(one.picture), key=f"landing_{one.id}", alt=one.prompt)
                st.button(
                    label(short(one.prompt)),
                    key=f"begin_{one.id}",
                    type="tertiary",
                    width="stretch",
                    on_click=_begin,
                    args=(one.id, visitor),
                )


@st.cache_data(ttl=FOUND_S, show_spinner=False)
def _found(database_url: str) -> list[Shown]:
    """Drawings that did best and the newest ones, one of each prompt: of those asked for together one is enough.

    Looked for once for all who come within FOUND_S.
    """
    db, engines = the_studio().db, registry.drawing_engines()
    others = [name for name in registry.ENGINES if name not in engines]
    liked = [job for job, _votes in wall.best_voted(db, standings.best_first(db), engines, limit=BEST)]
    jobs: dict[str, Job] = {}
    for job in [*liked, *queue.list_jobs(db, states=[State.SUCCEEDED], without=others, limit=LOOKED_AT)]:
        jobs.setdefault(job.prompt, job)
    some = list(jobs.values())[: 2 * SHOWN]
    files = files_of([job.id for job in some])
    pictures = [(job, files[job.id].get("thumbnail") or files[job.id].get("picture")) for job in some]
    return [Shown(job.id, job.prompt, picture) for job, picture in pictures if picture is not None]


def _begin(job_id: str, visitor: Submitter) -> None:
    with plain_errors():
        form.preset_from(access.job(the_studio(), visitor, job_id), visitor)
        st.session_state["form_changed"] = True
