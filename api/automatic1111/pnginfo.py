"""The settings that are written in a picture."""

from __future__ import annotations

from fastapi import APIRouter

from api.automatic1111.shapes import PngInfo, PngInfoQuestion
from api.callers import Opened, Reader
from api.pictures import decoded
from api.problems import writable
from generator.images.decode import BadImage, open_image
from generator.images.encode import texts_in
from generator.output.infotext import in_exif
from generator.output.infotext_read import parsed
from generator.params import BadParams

router = APIRouter(tags=["automatic1111"])

MAX_TEXT = 1 << 20  # characters of all texts together; a small file may unpack to much


@router.post("/png-info")
async def png_info(api: Opened, who: Reader, body: PngInfoQuestion) -> PngInfo:
    """The text under `parameters` of a PNG, or in the EXIF of others, taken apart, and the other texts in it.

    Nothing is drawn from them.
    """
    return await api.run(_read, body.image)


def _read(text: str) -> PngInfo:
    data = decoded("image", text.strip()).data
    try:
        image = open_image(data)
    except BadImage as error:
        raise BadParams(f"image: {error}") from None
    found = texts_in(image)
    found.setdefault("parameters", in_exif(image))
    if sum(len(key) + len(value) for key, value in found.items()) > MAX_TEXT:
        raise BadParams(f"image: more than {MAX_TEXT >> 20} million characters of text are written in it.")
    found = {writable(key): writable(value) for key, value in found.items()}
    info = found.pop("parameters", "")
    return PngInfo(info=info, items=found, parameters=parsed(info))
