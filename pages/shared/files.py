"""Files of jobs: which there are, and their bytes, kept for a while."""

from __future__ import annotations

import streamlit as st

from db import artefacts
from db.artefacts import Artefact
from db.errors import UnknownArtefact
from pages.shared import kept_files
from pages.shared.studio import the_studio


def files_of(job_ids: list[str]) -> dict[str, dict[str, Artefact]]:
    """The files of some jobs by job and kind."""
    return artefacts.of_jobs(the_studio().db, job_ids) if job_ids else {}


def load(artefact: Artefact | None) -> bytes | None:
    """The bytes of a small file, None where it is not there (yet, or any more)."""
    if artefact is None:
        return None
    store, key = the_studio().store, artefact.key
    try:
        if artefact.kind == "preview":
            return store.get(key)  # not kept: a second later there is another one
        return kept_files.files().get((store.address, key, artefact.sha256), lambda: store.get(key))
    except UnknownArtefact:
        return None


def forget_files() -> None:
    """Drop what this process remembers of files that are deleted, and of files made from them to take home."""
    kept_files.files().clear()
    kept_files.pictures().clear()
    st.cache_data.clear()
