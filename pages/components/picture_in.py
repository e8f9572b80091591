"""A picture comes in, pasted or dropped on the page, and what a visitor may do with one that is given: start from it,
resemble it, paint a mask on it, extend it, use the settings that are written in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from generator import registry
from pages.components import form, given_pictures, mask_canvas
from pages.components.extended import SIDES, Extended, extended
from pages.components.given_pictures import Given
from pages.components.picture import draw_picture
from pages.shared import form_memory, kept_files
from pages.shared.errors import plain_errors
from pages.shared.language import N_, _
from pages.shared.studio import the_studio
from studio import access
from studio.context import Submitter
from studio.picture_settings import Written, written_in
from studio.settings_form import defaults
from studio.uploads import TYPES, Upload

_SCRIPT = Path(__file__).with_suffix(".js")
_INLET, _COUNT = "picture_in", "pictures_in"
_CAME, _OPEN = "picture_came", "picture_open"  # what the dialogs are open for, until they are done or dismissed
_PAINTED, _PAINTED_FILE = "painted", "painted_mask"  # the uploader that the canvas hands its mask to, and what it is in
_TITLES = {"left": N_("On the left"), "right": N_("On the right"), "top": N_("Above"), "bottom": N_("Below")}
PAINT, EXTEND = "paint", "extend"


def inlet(engine: str, checkpoint: str, visitor: Submitter) -> None:
    """Takes what is pasted or dropped anywhere on the page, and asks what is to be done with it."""
    key = f"came_{st.session_state.setdefault(_COUNT, 0)}"
    took: Any = {"on_change": _take, "args": (key, engine, checkpoint, visitor)}
    with st.container(key=_INLET):
        st.file_uploader(_("Picture"), TYPES, key=key, **took)
        st.html(f"<script>{_SCRIPT.read_text()}</script>", unsafe_allow_javascript=True)
    came = st.session_state.get(_CAME)
    if came is not None:
        _dialog(_("What is to be done with this picture?"), _asking, *came, engine, checkpoint, visitor)


def ways(engine: str, checkpoint: str, visitor: Submitter) -> Callable[[Given], None]:
    """What draws, below a picture that is given, what can be done with it."""

    def below(one: Given) -> None:
        if one.setting != "init_image" or not _can_mask(engine, checkpoint):
            return
        with st.container(horizontal=True, gap="small", key="ways"):
            what = _("Change the mask") if _mask_on(one) else _("Paint a mask")
            for kind, text, icon in ((PAINT, what, "brush"), (EXTEND, _("Extend"), "open_in_full")):
                act: Any = {"on_click": _open, "args": (kind,)}
                st.button(text, key=f"{kind}_picture", icon=f":material/{icon}:", type="tertiary", **act)
        wanted = st.session_state.get(_OPEN)
        if wanted == PAINT:
            width, height = _size(engine, checkpoint)
            _dialog(_("Paint over what is to be drawn anew"), _painting, one, width / height, visitor)
        elif wanted == EXTEND:
            _dialog(_("Draw on beyond the picture"), _extending, one, engine, checkpoint, visitor)

    return below


def _dialog(title: str, body: Callable[..., None], *args: Any) -> None:
    """Open until it is done or dismissed, also where the page is drawn again meanwhile."""
    st.dialog(title, width="medium" if body is _painting else "small", on_dismiss=_finish)(body)(*args)


def _open(kind: str) -> None:
    st.session_state[_OPEN] = kind


def is_asking(page_is_drawn: bool) -> bool:
    """Whether a dialog is open for a picture; where its page is not drawn any more, it is over."""
    if not page_is_drawn:
        _finish()
    return any(name in st.session_state for name in (_CAME, _OPEN))


def _finish() -> None:
    for name in (_CAME, _OPEN):
        st.session_state.pop(name, None)


def _leave(name: str) -> None:
    """Closes the dialog that is open for this, once it is not any more."""
    if name not in st.session_state:
        st.rerun()


def _take(key: str, engine: str, checkpoint: str, visitor: Submitter) -> None:
    """Keeps what came in; the next one comes under another key, for else the browser would show this one as well."""
    file = st.session_state[key]
    st.session_state[_COUNT] += 1
    if not isinstance(file, UploadedFile):
        return
    written = written_in(the_studio(), file.getvalue(), engine, checkpoint)
    made = given_pictures.kept("init_image", file, visitor)
    if made.trouble:
        given_pictures.add("init_image", [made])
    else:
        st.session_state[_CAME] = (made, written)


def _asking(one: Given, written: Written | None, engine: str, checkpoint: str, visitor: Submitter) -> None:
    with plain_errors():
        data = kept_files.thumbnail(one.reference, lambda: access.source(the_studio(), visitor, one.reference))
        draw_picture(data, key="came", alt=one.called, side=168)
    taken = given_pictures.takes(engine, checkpoint)
    masks = _can_mask(engine, checkpoint)
    wishes: list[tuple[str, str, str, Callable[..., None], tuple[Any, ...]]] = []
    if written is not None:
        use = _("Use its settings") if written.whole else _("Use its prompt and settings")
        wishes.append(("settings", use, "tune", _use_settings, (written,)))
    wishes.append(("start", _("Start from it"), "image", _start, (one, None)))
    if masks:
        wishes.append(("paint", _("Paint a mask on it"), "brush", _start, (one, PAINT)))
        wishes.append(("extend", _("Draw on beyond it"), "open_in_full", _start, (one, EXTEND)))
    if "image_prompts" in taken:
        wishes.append(("resemble", _("Resemble it"), "compare", _resemble, (one,)))
    for name, text, icon, act, args in wishes:
        st.button(
            text, key=f"came_{name}", icon=f":material/{icon}:", width="stretch", on_click=_done, args=(act, *args)
        )
    if written is not None:
        st.caption(_told(written))
    st.caption(_(given_pictures.WHO_SEES))
    _leave(_CAME)


def _told(written: Written) -> str:
    if not written.whole:
        return _("It was drawn elsewhere; what this model has of its settings is taken over.")
    return _("It was made from pictures, which are not in it.") if written.left_out else ""


def _done(act: Callable[..., None], *args: Any) -> None:
    _finish()
    act(*args)


def _start(one: Given, then: str | None) -> None:
    given_pictures.add("init_image", [one])
    if then is not None:
        _open(then)


def _resemble(one: Given) -> None:
    given_pictures.add("image_prompts", [replace(one, setting="image_prompts")])


def _use_settings(written: Written) -> None:
    values = form.widgets_of(written.engine, written.checkpoint, written.values)
    if written.whole:
        values |= given_pictures.preset([])
    else:  # the others stay as they are
        for name in ("set_style", "set_style_words", "set_as_typed"):
            del values[name]
    seed = form.key_of(written.engine, written.checkpoint, "seed")
    form_memory.preset({**values, "set_prompt": written.prompt, seed: written.values.get("seed")})


def _painting(one: Given, aspect: float, visitor: Submitter) -> None:
    with plain_errors():
        there = _mask_on(one)
        mask = access.source(the_studio(), visitor, there.reference) if there else None
        picture = access.source(the_studio(), visitor, one.reference)
        mask_canvas.canvas(picture, mask, aspect=aspect, to=_PAINTED)
    with st.container(key=_PAINTED):
        took: Any = {"on_change": _take_mask, "args": (one, visitor)}
        st.file_uploader(_("Mask"), ["png"], key=_PAINTED_FILE, **took)
    _leave(_OPEN)


def _take_mask(one: Given, visitor: Submitter) -> None:
    file = st.session_state[_PAINTED_FILE]
    if isinstance(file, UploadedFile):
        made = given_pictures.kept("mask_image", file, visitor)
        given_pictures.add("mask_image", [replace(made, name="", on=one.text)])
        _finish()


def _extending(one: Given, engine: str, checkpoint: str, visitor: Submitter) -> None:
    square = registry.checkpoint(checkpoint).only_side is not None
    sides = st.pills(
        _("Sides"),
        SIDES,
        default=["right"],
        selection_mode="multi",
        key="extend_sides",
        format_func=lambda side: _(_TITLES[side]),
    )
    share = st.slider(_("How much is added on each"), 10, 100, 50, 5, format="%d%%", key="extend_share") / 100
    if square:
        st.caption(_("This model draws squares alone, so the picture is extended to one."))
    if sides:
        with plain_errors():
            data = access.source(the_studio(), visitor, one.reference)
            made = extended(data, sides, share, square=square)
            st.image(kept_files.as_sent(made.picture), width="stretch")
            st.caption(_("Where its edge goes on, something new is drawn; the picture itself stays as it is."))
            args = (_extend, one, made, engine, checkpoint, visitor)
            st.button(_("Extend it"), key="extend_it", type="primary", on_click=_done, args=args)
    _leave(_OPEN)


def _extend(one: Given, made: Extended, engine: str, checkpoint: str, visitor: Submitter) -> None:
    """The larger picture and its mask are given, and what is drawn gets its shape."""
    name = one.name or "picture"
    start = given_pictures.kept_bytes("init_image", Upload(name, made.picture), visitor)
    mask = given_pictures.kept_bytes("mask_image", Upload(name, made.mask), visitor)
    given_pictures.add("init_image", [start])
    if start.trouble:
        return
    given_pictures.add("mask_image", [replace(mask, name="", on=start.text)])
    row, size = registry.checkpoint(checkpoint), _size(engine, checkpoint)
    if row.only_side is None:
        scale = min(min(size) / min(made.size), row.max_side / max(made.size))
        sides = (max(round(side * scale / row.factor), 1) * row.factor for side in made.size)
        keys = (form.key_of(engine, checkpoint, side) for side in ("width", "height"))
        form_memory.preset(dict(zip(keys, sides, strict=True)))


def _can_mask(engine: str, checkpoint: str) -> bool:
    return "mask_image" in given_pictures.takes(engine, checkpoint)


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
