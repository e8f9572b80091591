"""Pictures that are sent along with a wish: read with limits, made clean, kept under a key of their own."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db import artefacts
from db.artefacts import Artefact
from db.jobs import Job
from generator.images.decode import BadImage, decode_image
from generator.params import BadParams, validate
from studio.context import Studio, Submitter
from studio.errors import BadWish
from studio.limits import check_welcome
from studio.submit import submit

TYPES = ["png", "jpg", "jpeg", "webp", "gif"]
MAX_SIDE = 2048
MAX_IMAGE_PROMPTS = 4


@dataclass(frozen=True)
class Upload:
    """A file as it was sent."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Cleaned:
    """A picture as PNG of at most MAX_SIDE px a side, without what a camera wrote into it."""

    png: bytes
    width: int
    height: int


def submit_with_pictures(
    studio: Studio,
    submitter: Submitter,
    engine: str,
    values: Mapping[str, Any],
    uploads: Mapping[str, Sequence[Upload]],
    *,
    pictures: int = 1,
    parent_id: str | None = None,
    source_artefact_id: str | None = None,
) -> list[Job]:
    """As `submit.submit`, with pictures sent along.

    uploads: by the setting they are for: one for init_image and mask_image, up to MAX_IMAGE_PROMPTS for image_prompts.
    All is checked before anything is stored, so that a refused wish leaves no files behind. Raises StoreFull as well.
    """
    check_welcome(studio, submitter)
    given = {name: some for name, some in uploads.items() if some}
    validate(engine, {**starting({**values, **dict.fromkeys(given, "upload")}), "seed": values.get("seed") or 0})
    for name, some in given.items():
        if name == "image_prompts" and len(some) > MAX_IMAGE_PROMPTS:
            raise BadWish(
                "{given} pictures to resemble; at most {most} are allowed.", given=len(some), most=MAX_IMAGE_PROMPTS
            )
    clean = {name: [cleaned(studio, one) for one in some] for name, some in given.items()}
    kept = {name: [keep(studio, one).key for one in some] for name, some in clean.items()}
    return submit(
        studio,
        submitter,
        engine,
        starting({**values, **{name: " | ".join(keys) for name, keys in kept.items()}}),
        pictures=pictures,
        parent_id=parent_id,
        source_artefact_id=source_artefact_id,
    )


def starting(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with init=image where a picture to start from was given: that is what giving one means."""
    return {**values, "init": "image"} if values.get("init_image") and "init" in values else dict(values)


def cleaned(studio: Studio, upload: Upload) -> Cleaned:
    """The picture in a file. Raises BadParams with one sentence where it is too large, broken or no picture."""
    try:
        image = decode_image(upload.data, max_bytes=studio.settings.max_upload_bytes)
    except BadImage as error:
        raise BadParams(f"{upload.name!r}: {error}") from None
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    out = io.BytesIO()
    image.save(out, "PNG")
    return Cleaned(out.getvalue(), *image.size)


def keep(studio: Studio, picture: Cleaned) -> Artefact:
    """Store a picture; its key is what the settings refer to. Raises StoreFull, StoreUnavailable."""
    return artefacts.save(
        studio.db,
        studio.store,
        job_id=None,
        kind="upload",
        data=picture.png,
        media_type="image/png",
        ext="png",
        width=picture.width,
        height=picture.height,
    )
