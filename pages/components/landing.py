"""For who has drawn nothing yet: what others made here, each a way to begin."""

from __future__ import annotations

import streamlit as st

from db.jobs import Job
from pages.components import form
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.ratings import standings
from pages.shared.files import files_of, load
from pages.shared.language import _
from pages.shared.text import label, short
from studio.context import Submitter

SHOWN, BEST, LOOKED_AT = 8, 4, 32


def show(visitor: Submitter) -> None:
    """The best-voted and newest pictures; a tap fills the form with the words and settings of one."""
    jobs = _pictures(visitor)
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


def _pictures(visitor: Submitter) -> list[Job]:
    """One of each prompt: of those asked for together one is enough to begin from."""
    best, newest = standings.best_and_newest(visitor, best=BEST, newest=LOOKED_AT)
    prompts: dict[str, Job] = {}
    for job in [*(liked for liked, _votes in best), *newest]:
        prompts.setdefault(job.prompt, job)
    return list(prompts.values())[:SHOWN]


def _begin(job: Job, visitor: Submitter) -> None:
    form.preset_from(job, visitor)
    st.session_state["form_changed"] = True
