"""Pictures that are sent along with a wish: read with limits, made clean, kept under a key of their own."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db import artefacts
from db.artefacts import Artefact, drafts
from db.jobs import new_id
from generator.images.decode import BadImage, decode_image
from generator.images.formats import EXTENSIONS
from generator.params import BadParams
from studio.context import Studio, Submitter
from studio.errors import BadWish
from studio.limits import check_welcome

TYPES = list(EXTENSIONS)
MAX_SIDE = 2048
MAX_IMAGE_PROMPTS = 4
SETTINGS = ("init_image", "mask_image", "image_prompts")  # that a picture may be sent for


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


def check_count(uploads: Mapping[str, Sequence[Upload]]) -> None:
    """Raises BadParams for more pictures than a setting takes. uploads: by the setting they are for."""
    for name, some in uploads.items():
        if name not in SETTINGS:
            raise BadParams(f"{name} takes no picture; {', '.join(SETTINGS)} do.")
        if name != "image_prompts" and len(some) > 1:
            raise BadParams(f"{len(some)} pictures for {name}; one is allowed.")
    given = len(uploads.get("image_prompts", ()))
    if given > MAX_IMAGE_PROMPTS:
        raise BadWish("{given} pictures to resemble; at most {most} are allowed.", given=given, most=MAX_IMAGE_PROMPTS)


def keep(
    studio: Studio,
    uploads: Mapping[str, Sequence[Upload]],
    ids: Mapping[str, Sequence[str]],
    submitter: Submitter,
) -> None:
    """Store pictures under the keys that these ids make; one that is broken, and none is stored.

    Raises BadParams as `cleaned`, StoreFull, StoreUnavailable.
    """
    clean = [
        (artefact_id, cleaned(studio, one))
        for name, some in uploads.items()
        for one, artefact_id in zip(some, ids[name], strict=True)
    ]
    for artefact_id, picture in clean:
        _save(studio, submitter, picture, artefact_id)


def keep_one(studio: Studio, submitter: Submitter, upload: Upload) -> Artefact:
    """Store a picture that a later wish may name by its id. Raises Banned, and as `keep`."""
    check_welcome(studio, submitter)
    return _save(studio, submitter, cleaned(studio, upload), new_id())


def keep_clean(studio: Studio, submitter: Submitter, picture: Cleaned) -> Artefact:
    """The same, of a picture that was read already. Raises Banned, StoreFull, StoreUnavailable."""
    check_welcome(studio, submitter)
    return _save(studio, submitter, picture, new_id())


def keep_draft(studio: Studio, submitter: Submitter, upload: Upload) -> Artefact:
    """Store a picture for a form that may ask for something with it within a day.

    Raises Banned, BadParams as `cleaned`, StoreFull, StoreUnavailable.
    """
    check_welcome(studio, submitter)
    picture = cleaned(studio, upload)
    return drafts.save(studio.db, studio.store, submitter.id, picture.png, width=picture.width, height=picture.height)


def drafts_in(values: Mapping[str, Any]) -> dict[str, str]:
    """The drafts that these settings name, each with a new id for the copy that a job may name."""
    named = (key for name in SETTINGS for key in drafts.named_in(str(values.get(name) or "")))
    return {key: new_id() for key in dict.fromkeys(named)}


def with_copies(values: Mapping[str, Any], copies: Mapping[str, str]) -> dict[str, Any]:
    """The settings as they name the copies of drafts. copies: as `drafts_in` finds them."""
    named = dict(values)
    for name in SETTINGS:
        for key, artefact_id in copies.items():
            if named.get(name):
                named[name] = str(named[name]).replace(key, artefacts.upload_key(artefact_id))
    return named


def keep_copies(studio: Studio, submitter: Submitter, copies: Mapping[str, str]) -> None:
    """Store copies of these drafts for good. Raises UnknownArtefact, StoreFull, StoreUnavailable."""
    for key, artefact_id in copies.items():
        draft = drafts.get(studio.db, submitter.id, key)
        picture = Cleaned(studio.store.get(key), draft.width or 0, draft.height or 0)
        _save(studio, submitter, picture, artefact_id)


def _save(studio: Studio, submitter: Submitter, picture: Cleaned, artefact_id: str) -> Artefact:
    return artefacts.save(
        studio.db,
        studio.store,
        artefact_id=artefact_id,
        job_id=None,
        kind="upload",
        data=picture.png,
        media_type="image/png",
        ext="png",
        width=picture.width,
        height=picture.height,
        giver=submitter.id,
        address=submitter.address,
    )


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
