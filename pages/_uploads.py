"""Pictures that visitors upload: read with limits, made clean, kept under a key of their own."""

from __future__ import annotations

import io

import streamlit as st

from db import artefacts
from db.artefacts import Artefact
from generator.images.decode import BadImage, decode_image
from generator.params import BadParams
from pages._widgets import Studio

TYPES = ["png", "jpg", "jpeg", "webp", "gif"]
MAX_SIDE = 2048


@st.cache_data(ttl=60.0, max_entries=8, show_spinner=False)
def cleaned(data: bytes, name: str, most_bytes: int) -> tuple[bytes, int, int]:
    """An uploaded picture as PNG of at most MAX_SIDE px a side, without what a camera wrote into it: data, width,
    height. Raises BadParams with one sentence where it is too large, broken or no picture.
    """
    try:
        image = decode_image(data, max_bytes=most_bytes)
    except BadImage as error:
        raise BadParams(f"{name!r}: {error}") from None
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue(), *image.size


def keep_upload(studio: Studio, data: bytes, name: str) -> Artefact:
    """Store an uploaded picture; its key is what the settings refer to. Raises BadParams, StoreFull."""
    png, width, height = cleaned(data, name, studio.settings.max_upload_bytes)
    return artefacts.save(
        studio.db,
        studio.store,
        job_id=None,
        kind="upload",
        data=png,
        media_type="image/png",
        ext="png",
        width=width,
        height=height,
    )
