"""What a job that makes no picture has found, shown in place of one."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from db.artefacts import Artefact
from db.jobs import Job, State
from pages import _widgets as w


def show(job: Job, document: Artefact | None) -> None:
    """The result, or a few words while there is none."""
    found = read(document)
    if found is None:
        w.empty_state(
            w.engine_title(job.engine), "It has not ended yet." if job.state in _LIVE else "There is no result."
        )
        return
    st.json(found)


def read(document: Artefact | None) -> dict[str, Any] | None:
    """The `result` of a result document, None where it is not there."""
    data = w.load(document)
    return None if data is None else json.loads(data)["result"]


_LIVE = (State.QUEUED, State.RUNNING)
