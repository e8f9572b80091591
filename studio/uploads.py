"""Pictures that are sent along with a wish: read with limits, made clean, kept under a key of their own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from db import artefacts
from db.artefacts import Artefact, drafts, given
from db.artefacts.given import OFFERED_S, PENDING_S
from db.jobs import new_id
from generator.images.decode import BadImage, ReadersBusy, decode_image, decode_with_alpha
from generator.images.formats import EXTENSIONS
from generator.params import BadParams
from studio.context import Studio, Submitter
from studio.errors import BadWish, Busy
from studio.limits import check_welcome
from studio.room import check_given, check_room, quota

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
    submitter: Submitter,
    uploads: Mapping[str, Sequence[Upload]],
    ids: Mapping[str, Sequence[str]],
    copies: Mapping[str, str],
) -> list[str]:
    """Store pictures under the keys that these ids make, and copies of drafts; one that cannot be, and none is stored.

    copies: as `drafts_in` finds them. The ids of all, which go within the hour unless a job names them. Raises
    BadParams as `cleaned`, UnknownArtefact, Busy, TooManyBytesGiven, DiskNearlyFull, StoreFull, StoreUnavailable.
    """
    if not copies and not any(uploads.values()):
        return []
    check_given(studio, submitter)  # before anything is decoded
    clean = [
        (artefact_id, cleaned(studio, one))
        for name, some in uploads.items()
        for one, artefact_id in zip(some, ids[name], strict=True)
    ]
    for key, artefact_id in copies.items():
        draft = drafts.get(studio.db, submitter.id, key)
        clean.append((artefact_id, Cleaned(studio.store.get(key), draft.width or 0, draft.height or 0)))
    _save(studio, submitter, clean)
    return [artefact_id for artefact_id, _ in clean]


def keep_one(studio: Studio, submitter: Submitter, upload: Upload) -> Artefact:
    """Store a picture that a wish may name by its id within a day. Raises Banned, and as `keep`."""
    check_welcome(studio, submitter)
    check_given(studio, submitter)
    return _save(studio, submitter, [(new_id(), cleaned(studio, upload))], kept_s=OFFERED_S)[0]


def keep_clean(studio: Studio, submitter: Submitter, picture: Cleaned) -> Artefact:
    """Store one that was read already, for a wish that names it now. Raises Banned, and as `keep`."""
    check_welcome(studio, submitter)
    return _save(studio, submitter, [(new_id(), picture)])[0]


def keep_draft(studio: Studio, submitter: Submitter, upload: Upload) -> Artefact:
    """Store a picture for a form that may ask for something with it within a day. Raises Banned, and as `keep`."""
    check_welcome(studio, submitter)
    check_given(studio, submitter)
    picture = cleaned(studio, upload)
    check_room(studio, len(picture.png))
    return drafts.save(
        studio.db,
        studio.store,
        submitter.id,
        picture.png,
        width=picture.width,
        height=picture.height,
        address=submitter.address,
        quota=quota(studio),
    )


@contextmanager
def gone_if_refused(studio: Studio) -> Iterator[list[str]]:
    """A list for the ids of pictures that are kept for one wish: they go where it ends with an error, whichever.

    What a job names by then stays.
    """
    kept: list[str] = []
    try:
        yield kept
    except BaseException:
        given.forget(studio.db, studio.store, kept)
        raise


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


def _save(
    studio: Studio, submitter: Submitter, clean: Sequence[tuple[str, Cleaned]], kept_s: float = PENDING_S
) -> list[Artefact]:
    check_room(studio, sum(len(picture.png) for _, picture in clean))
    pictures = [
        given.Picture(one, "upload", artefacts.upload_key(one), picture.png, picture.width, picture.height)
        for one, picture in clean
    ]
    return given.save(
        studio.db,
        studio.store,
        pictures,
        giver=submitter.id,
        address=submitter.address,
        quota=quota(studio),
        kept_s=kept_s,
    )


def cleaned(studio: Studio, upload: Upload) -> Cleaned:
    """The picture in a file. Raises BadParams with one sentence where it is too large, broken or no picture; Busy."""
    image = _read(studio, upload, decode_image)
    out = io.BytesIO()
    image.save(out, "PNG")
    return Cleaned(out.getvalue(), *image.size)


def seen_by_clip(studio: Studio, upload: Upload, side: int) -> bytes:
    """The picture in a file as a PNG of `side` px, cut to a square as CLIP prepares pictures. Raises as `cleaned`."""
    out = io.BytesIO()
    image = _read(studio, upload, decode_image)
    ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS).save(out, "PNG")
    return out.getvalue()


def alpha_of(studio: Studio, upload: Upload) -> Image.Image:
    """Where the picture in a file is opaque (L), as large as it is kept. Raises as `cleaned`."""
    return _read(studio, upload, decode_with_alpha).convert("RGBA").getchannel("A")


def _read(studio: Studio, upload: Upload, decode: Callable[..., Image.Image]) -> Image.Image:
    try:
        return decode(upload.data, max_bytes=studio.settings.max_upload_bytes, max_side=MAX_SIDE)
    except ReadersBusy as error:
        raise Busy(str(error)) from None
    except BadImage as error:
        raise BadParams(f"{upload.name!r}: {error}") from None
