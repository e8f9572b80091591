"""A picture that keeps its place, alone or in a line of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import streamlit as st

from db.artefacts import Artefact
from pages.shared import kept_files
from pages.shared.files import load
from pages.shared.language import _
from pages.shared.text import esc, short

# By their first bytes; without being told, st.image opens each picture once more at every run to find out.
_FORMATS: dict[bytes, Literal["JPEG", "PNG"]] = {b"\xff\xd8": "JPEG", b"\x89P": "PNG"}


def draw_picture(data: bytes | None, *, key: str, alt: str, instead: str = "", side: int | None = None) -> None:
    """A square that never changes its size: the picture scaled to fit, or a few words instead.

    side: in px; None: as wide as there is room.
    """
    with st.container(key=f"pic_{key}", width=side or "stretch"):
        if data is None:
            st.html(f'<div class="t2i-mat"><span>{esc(instead)}</span></div>')
        else:
            sent = kept_files.as_sent(data)
            st.image(sent, alt=alt or _("Picture"), width="stretch", output_format=_FORMATS.get(sent[:2], "auto"))


def beside(
    data: bytes | None, title: str, about: list[str], *, key: str, alt: str, side: int, instead: str = ""
) -> None:
    """A small picture, a title, and what is told about it below: for a container whose parts stand in a row."""
    draw_picture(data, key=key, alt=alt, instead=instead, side=side)
    told = " · ".join(esc(part) for part in about)
    st.html(f'<div class="t2i-prompt">{esc(title)}</div><div class="t2i-meta">{told}</div>')


def listed(kind: str, one_id: str, prompt: str, about: list[str], files: Mapping[str, Artefact]) -> None:
    """A line of a list of sheets or refinements; opened, its id is in the address as ?KIND=."""
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{one_id}"):
        picture = load(files.get("thumbnail") or files.get("preview"))
        beside(picture, short(prompt), about, key=f"{kind}_{one_id}", alt=prompt, side=56)
        st.button(
            _("Open"),
            icon=":material/arrow_forward:",
            key=f"open_{one_id}",
            on_click=st.query_params.update,
            args=({kind: one_id},),
        )
