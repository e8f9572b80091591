"""What a job that makes no picture has found, shown in place of one."""

from __future__ import annotations

from typing import Any

import streamlit as st

from db.artefacts import Artefact
from db.errors import UnknownArtefact
from db.jobs import LIVE, Job
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.shared.files import load
from pages.shared.language import _, number
from pages.shared.studio import the_studio
from studio import access
from studio.context import Submitter
from studio.engines import engine_title
from studio.standing import result_of


def show(job: Job, document: Artefact | None, visitor: Submitter) -> None:
    """The result, or a few words while there is none."""
    found = read(document)
    if found is None:
        empty_state(
            engine_title(job.engine), _("It has not ended yet.") if job.state in LIVE else _("There is no result.")
        )
    elif job.engine == "rank":
        _ranking(found, visitor)
    else:
        st.json(found)


def read(document: Artefact | None) -> dict[str, Any] | None:
    """The `result` of a result document, None where it is not there."""
    data = load(document)
    return None if data is None else result_of(data)


def _ranking(found: dict[str, Any], visitor: Submitter) -> None:
    """The pictures, best first, with their scores; each opens the job that made it."""
    with st.grid("auto", min_column_width=120, key="ranking"):
        for place, entry in enumerate(found["ranking"], start=1):
            try:
                picture = access.artefact(the_studio(), visitor, entry["picture"])
            except UnknownArtefact:
                continue
            with st.container(key=f"tile_rank_{place}"):
                draw_picture(load(picture), key=f"rank_{place}", alt=_("No. {place}", place=place))
                st.button(
                    f"{_('No. {place}', place=place)} · {number(entry['score'], '.3f')}",
                    key=f"open_rank_{place}",
                    type="tertiary",
                    width="stretch",
                    disabled=picture.job_id is None,
                    on_click=_open,
                    args=(picture.job_id,),
                )


def _open(job_id: str) -> None:
    st.query_params["job"] = job_id
