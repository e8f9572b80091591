"""Train: a model of one's own, from captioned pictures; a run under ?run=<id>, two side by side with &with=<id>."""

from __future__ import annotations

import streamlit as st

from pages.components import job_card
from pages.components.notices import disk_note, empty_state
from pages.components.picture import draw_picture
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import _
from pages.shared.navigation import show
from pages.shared.studio import the_studio
from pages.shared.text import esc
from pages.shared.visitor import the_visitor
from pages.training import data, start, watching
from studio import train
from studio.context import Submitter
from studio.limits import may_train

REFRESH_S = 3.0


def page() -> None:
    """One run where the address names one, else how to start one, and those there are."""
    visitor, run_id = the_visitor(), st.query_params.get("run")
    if run_id:
        watching.show(run_id, visitor, st.query_params.get("with"))
        return
    if not may_train(the_studio(), visitor):
        st.info(
            _("Training is not open to visitors here. Runs of others can be watched below."), icon=":material/info:"
        )
        _given_before(visitor)
    elif disk_note():
        _given_before(visitor)
    else:
        with plain_errors():
            st.header(_("1. Pictures with captions"), anchor=False)
            chosen = data.choose(visitor)
            if chosen is not None:
                st.header(_("2. Model"), anchor=False)
                start.form(chosen, visitor)
    st.header(_("Runs"), anchor=False)
    st.fragment(_runs, run_every=REFRESH_S)(visitor)


def _given_before(visitor: Submitter) -> None:
    with plain_errors():
        data.given_before(visitor)


def _runs(visitor: Submitter) -> None:
    with plain_errors():
        jobs = train.runs(the_studio(), visitor)
        if not jobs:
            empty_state(_("No runs yet"), _("Give captioned pictures, name your model and start: it learns here."))
            return
        files = files_of([job.id for job in jobs])
        for job in jobs:
            with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_run_{job.id}"):
                file = files[job.id].get("thumbnail") or files[job.id].get("preview")
                draw_picture(load(file), key=f"run_{job.id}", alt=job.prompt, side=56)
                st.html(
                    f'<div class="t2i-prompt">{esc(job.params.get("name") or job.prompt)}</div>'
                    f'<div class="t2i-meta">{esc(watching.state_line(job))}</div>'
                    f"{job_card.bar(job.step / job.total_steps, job)}"
                )
                st.button(
                    _("Open"),
                    icon=":material/arrow_forward:",
                    key=f"open_run_{job.id}",
                    on_click=st.query_params.update,
                    args=({"run": job.id},),
                )


if __name__ == "__main__":
    show(page)
