"""The canvas on which a visitor paints the part of a picture that is drawn anew; see mask_canvas.js.

It hands the mask over as a file, to an uploader, as if that had been chosen there: what a browser sends is bounded,
read and kept in one way, wherever it is from.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import streamlit as st
from PIL import Image

from generator.images.encode import data_uri
from pages.shared.language import _
from pages.shared.text import esc

SIDE = 640  # px of the longer side: fine enough for any brush, whatever the picture's own size
_HERE = Path(__file__)


def canvas(picture: bytes, mask: bytes | None, *, aspect: float, to: str) -> None:
    """The picture to paint on, with the mask painted on it before, and the tools.

    aspect: width by height of what is drawn; what is beyond it in the picture is dimmed. to: the key of the container
    with the uploader that takes the mask.
    """
    with Image.open(io.BytesIO(picture)) as image:
        shown = _fitted(image.convert("RGB"))
    before = ""
    if mask is not None:
        with Image.open(io.BytesIO(mask)) as image:
            before = _url(image.convert("L").resize(shown.size), "PNG")
    said = {
        "nothing": _("Nothing is painted yet. Paint over what is to be drawn anew."),
        "share": _("{percent}% of the picture is drawn anew."),
        "sent": _("The mask is taken over…"),
    }
    tools = [
        _button("brush", _("Brush"), pressed=True),
        _button("erase", _("Eraser"), pressed=False),
        _button("undo", _("Undo")),
        _button("redo", _("Redo")),
        _button("invert", _("Invert")),
        _button("clear", _("Clear")),
    ]
    sliders = _slider("size", _("Brush size"), 1, 50, 14) + _slider("feather", _("Soft edge"), 0, 20, 3)
    about = _(
        "The picture. Arrow keys move the brush, Space paints, B and E choose brush and eraser, the square brackets "
        "make it smaller and larger, Ctrl+Z takes back."
    )
    st.html(
        f"<style>{_HERE.with_suffix('.css').read_text()}</style>"
        f'<div class="t2i-mask" data-aspect="{aspect:.4f}" data-to="{esc(to)}" data-said="{esc(json.dumps(said))}" '
        f'data-picture="{_url(shown, "JPEG")}" data-mask="{before}">'
        f'<div class="t2i-mask-tools" role="toolbar" aria-label="{esc(_("Mask"))}">{"".join(tools)}'
        f'<div class="t2i-mask-sliders">{sliders}</div></div>'
        f'<div class="t2i-mask-area"><canvas tabindex="0" role="application" aria-label="{esc(about)}"></canvas></div>'
        f'<div class="t2i-mask-end">{_button("done", _("Use this mask"))}<span role="status"></span></div></div>'
        f"<script>{_HERE.with_suffix('.js').read_text()}</script>",
        unsafe_allow_javascript=True,
    )


def _button(act: str, text: str, pressed: bool | None = None) -> str:
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return f'<button type="button" data-act="{act}"{state}>{esc(text)}</button>'


def _slider(name: str, text: str, least: int, most: int, value: int) -> str:
    field = f'<input type="range" data-is="{name}" min="{least}" max="{most}" value="{value}">'
    return f"<label>{esc(text)} {field}</label>"


def _fitted(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _url(image: Image.Image, form: str) -> str:
    out = io.BytesIO()
    image.save(out, form, quality=88)
    return data_uri(out.getvalue(), f"image/{form.lower()}")
