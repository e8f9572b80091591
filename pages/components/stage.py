"""A finished picture, large: zoomed, moved between, beside what it was made from, as its film, and passed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from db.artefacts import Artefact
from db.jobs import Job, State
from generator.images.encode import data_uri
from pages.shared.files import files_of, load
from pages.shared.language import _
from pages.shared.studio import the_studio
from pages.shared.text import short
from studio import access
from studio.context import Submitter
from studio.file_names import file_name
from studio.links import link_to

_HERE = Path(__file__).resolve().parent
FILMS = ("mp4", "webp", "gif")


@cache
def _component() -> Callable[..., Any]:
    html, css, js = ((_HERE / f"stage.{kind}").read_text() for kind in ("html", "css", "js"))
    return st.components.v2.component("stage", html=html, css=css, js=js)


def show(
    job: Job,
    files: dict[str, Artefact],
    visitor: Submitter,
    among: Sequence[Job],
    *,
    key: str,
    of: tuple[int, int] = (0, 1),
) -> str | None:
    """The job's picture, which has to be there; among: what can be moved to at once, of so many pictures from the first
    of these on. Returns the id of what was moved to."""
    moving = next((kind for kind in FILMS if kind in files), None)
    parent = access.made_from(the_studio(), visitor, job)
    data = {
        "items": [{"id": one.id, "alt": short(one.prompt, 300), "src": _source(one)} for one in among],
        "of": of,
        "at": job.id,
        "size": [files["picture"].width or 1, files["picture"].height or 1],
        # Browsers play an MP4 as a video, and what moves by itself as a picture.
        "film": None
        if moving is None or job.hidden
        else {"src": _address(link_to(job.id, "film")), "plays": moving == "mp4"},
        "before": _before(parent),
        "name": file_name(job, files["picture"]),
        "title": job.prompt,
        "link": None if job.hidden else _address(link_to(job.id)),  # nobody else is shown it
        "words": _words(),
    }
    went = _component()(data=data, key=key, on_went_change=lambda: None).went
    return went if any(one.id == went for one in among) else None


def _address(path: str) -> str:
    root = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{root}{path}" if root else path


def _source(job: Job) -> str:
    """The address of a picture; of one that its owner alone sees its bytes, since not every browser keeps a cookie."""
    found = files_of([job.id])[job.id].get("picture") if job.hidden else None
    data = load(found)
    if found is not None and data is not None:
        return data_uri(data, found.media_type)
    return _address(link_to(job.id, "picture"))


def _before(parent: Job | None) -> dict[str, str] | None:
    """What it was made from, where that has a picture."""
    if parent is None or parent.state != State.SUCCEEDED:
        return None
    return {"src": _source(parent), "alt": parent.prompt}


def _words() -> dict[str, str]:
    return {
        "picture": _("Picture"),
        "previous": _("Previous"),
        "next": _("Next"),
        "zoom": _("Zoom"),
        "film": _("How it formed"),
        "before": _("Before and after"),
        "divider": _("How much of the picture before is shown"),
        "scrub": _("Where in the film"),
        "full": _("Full screen"),
        "copy": _("Copy the prompt"),
        "share": _("Share"),
        "download": _("Download"),
        "copied": _("The prompt is copied."),
        "link_copied": _("The link is copied."),
        "not_copied": _("This browser does not let it be copied."),
    }
