"""What a visitor may do with a picture that is given: paint a mask on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from pages.components import form, given_pictures, mask_canvas
from pages.components.given_pictures import Given
from pages.shared import form_memory
from pages.shared.errors import plain_errors
from pages.shared.language import _
from pages.shared.studio import the_studio
from studio import access
from studio.context import Submitter
from studio.settings_form import defaults

_PAINTED, _PAINTED_FILE = "painted", "painted_mask"  # the uploader that the canvas hands its mask to, and what it is in
_TAKEN = "mask_taken"


def ways(engine: str, checkpoint: str, visitor: Submitter) -> Callable[[Given], None]:
    """What draws, below a picture that is given, what can be done with it."""

    def below(one: Given) -> None:
        if one.setting != "init_image" or "mask_image" not in given_pictures.takes(engine, checkpoint):
            return
        with st.container(horizontal=True, gap="xsmall", key="ways"):
            what = _("Change the mask") if _mask_on(one) else _("Paint a mask")
            if st.button(what, key="paint_mask", icon=":material/brush:", type="tertiary"):
                paint(one, engine, checkpoint, visitor)

    return below


def paint(one: Given, engine: str, checkpoint: str, visitor: Submitter) -> None:
    """The dialog with the canvas."""
    width, height = _size(engine, checkpoint)
    st.dialog(_("Paint over what is to be drawn anew"), width="medium")(_painting)(one, width / height, visitor)


def _painting(one: Given, aspect: float, visitor: Submitter) -> None:
    with plain_errors():
        there = _mask_on(one)
        mask = access.source(the_studio(), visitor, there.reference) if there else None
        picture = access.source(the_studio(), visitor, one.reference)
        mask_canvas.canvas(picture, mask, aspect=aspect, to=_PAINTED)
    with st.container(key=_PAINTED):
        took: Any = {"on_change": _take_mask, "args": (one, visitor)}
        st.file_uploader(_("Mask"), ["png"], key=_PAINTED_FILE, **took)
    if st.session_state.pop(_TAKEN, False):
        st.rerun()  # without the dialog


def _take_mask(one: Given, visitor: Submitter) -> None:
    file = st.session_state[_PAINTED_FILE]
    if isinstance(file, UploadedFile):
        made = given_pictures.kept("mask_image", file, visitor)
        given_pictures.add("mask_image", [replace(made, name="", on=one.text)])
        st.session_state[_TAKEN] = True


def _mask_on(picture: Given) -> Given | None:
    """The mask that goes with this picture."""
    masks = [one for one in given_pictures.given() if one.setting == "mask_image" and not one.trouble]
    return next((one for one in masks if one.on == picture.text), None)


def _size(engine: str, checkpoint: str) -> tuple[int, int]:
    """Width and height in px as the form has them now."""
    usual, found = defaults(engine, checkpoint), []
    for name in ("width", "height"):
        key = form.key_of(engine, checkpoint, name)
        found.append(int(st.session_state.get(key, form_memory.remembered().get(key)) or usual[name]))
    return found[0], found[1]
