"""For who has drawn nothing yet: what others made here, each a way to begin."""

from __future__ import annotations

import streamlit as st

from db import queue
from db.evening import wall
from db.jobs import Job, State
from db.votes import history
from generator import registry
from pages.components import form
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.ratings import standings
from pages.shared.files import files_of, load
from pages.shared.language import _
from pages.shared.studio import the_studio
from pages.shared.text import label, short
from studio.context import Submitter

SHOWN, BEST, LOOKED_AT = 8, 4, 32
FOUND_S = 5


def show(visitor: Submitter) -> None:
    """The best-voted and newest pictures; a tap fills the form with the words and settings of one."""
    jobs = _pictures()
    if not jobs:
        empty_state(_("Nothing drawn yet"), _("Write what you want to see and press Generate. The picture forms here."))
        return
    st.caption(_("Tap a picture to begin with its words and settings."))
    files = files_of([job.id for job in jobs])
    with st.grid("auto", min_column_width=155, key="landing"):
        for job in jobs:
            with st.container(key=f"tile_landing_{job.id}"):
                data = load(files[job.id].get("thumbnail") or files[job.id].get("picture"))
                draw_picture(data, key=f"landing_{job.id}", alt=job.prompt)
                st.button(
                    label(short(job.prompt)),
                    key=f"begin_{job.id}",
                    type="tertiary",
                    width="stretch",
                    on_click=_begin,
                    args=(job, visitor),
                )


def _pictures() -> list[Job]:
    """Those of `_found` that may be seen now."""
    db = the_studio().db
    ids = _found(str(db.url))
    shown = history.visible(db, ids)
    return [shown[job_id] for job_id in ids if job_id in shown][:SHOWN]


@st.cache_data(ttl=FOUND_S, show_spinner=False)
def _found(database: str) -> list[str]:
    """The ids of drawings that did best and of the newest ones, one of each prompt: of those asked for together one is
    enough to begin from. Looked for once for all who come within FOUND_S; database: its address.
    """
    db, engines = the_studio().db, registry.drawing_engines()
    others = [name for name in registry.ENGINES if name not in engines]
    liked = [job for job, _votes in wall.best_voted(db, standings.best_first(db), engines, limit=BEST)]
    prompts: dict[str, str] = {}
    for job in [*liked, *queue.list_jobs(db, states=[State.SUCCEEDED], without=others, limit=LOOKED_AT)]:
        prompts.setdefault(job.prompt, job.id)
    return list(prompts.values())[: 2 * SHOWN]


def _begin(job: Job, visitor: Submitter) -> None:
    form.preset_from(job, visitor)
    st.session_state["form_changed"] = True
