"""What a server of EIR's protocol may send, held to what it said it has. Nothing here is believed: names, shapes, sizes
and lengths are checked, a picture must begin as one, and nothing is ever unpickled."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from characters.brief import begun
from generator.images.decode import MAX_BYTES, BadImage, open_image
from generator.learning.stream import messages
from generator.learning.stream.samples import DataProblem, Sample
from generator.learning.stream.sources import why_not

_MAX_FIELDS = 1000
_MAX_ID = 1000  # characters
_MAX_SIDE = 1 << 16  # px


@dataclass(frozen=True)
class Fields:
    """Where in a sample the picture and the caption are. side: height and width in px, where the server states them."""

    image: str
    caption: str
    image_is_target: bool
    side: tuple[int, int] | None


def fields(where: str, info: dict[str, Any]) -> Fields:
    """Picture and caption among what a server says it has: its one image, of the inputs or else of the outputs, and its
    one sequence. Raises DataProblem."""
    payload = info.get("payload")
    payload = payload if isinstance(payload, dict) else {}
    inputs, outputs = (_named(where, payload.get(name)) for name in ("inputs", "outputs"))
    captions = [name for name, one in inputs.items() if one.get("type") == "sequence"]
    for named, is_target in ((inputs, False), (outputs, True)):
        images = [name for name, one in named.items() if one.get("type") == "image"]
        if images and captions:
            name = next((name for name in images if name == "image"), images[0])
            caption = next((name for name in captions if name in ("caption", "text")), captions[0])
            return Fields(name, caption, is_target, _side(where, named[name].get("shape")))
    kinds = ", ".join(f"{name} ({one.get('type')})" for name, one in [*inputs.items(), *outputs.items()][:20])
    raise DataProblem(
        f"{where} has no picture with a caption; it needs an image and a sequence, and has {kinds or 'none'}."
    )


def batch(said: dict[str, Any]) -> list[Any]:
    """The samples of a data message; none at the end of an epoch. Raises BadMessage."""
    samples = said.get("payload")
    if not isinstance(samples, list):
        raise messages.BadMessage("its data are no list")
    if len(samples) > messages.MAX_BATCH:
        raise messages.BadMessage(f"it sends {len(samples)} samples at once; at most {messages.MAX_BATCH} are taken")
    if "terminate" in samples:
        return samples[: samples.index("terminate")]
    return samples


def sample(said: Any, wanted: Fields, where: str) -> Sample:
    """One sample as the server names it. Raises DataProblem: it is not what the server said, or no picture."""
    sample_id = said.get("sample_id") if isinstance(said, dict) else None
    if not isinstance(sample_id, str) or not 0 < len(sample_id) <= _MAX_ID:
        raise DataProblem(f"{where} sends a sample without a sample_id of 1 to {_MAX_ID} characters.")
    inputs, targets = said.get("inputs"), said.get("target_labels")
    caption = inputs.get(wanted.caption) if isinstance(inputs, dict) else None
    if not isinstance(caption, str):
        raise DataProblem(f"{where} sends sample {sample_id!r} without the text {wanted.caption!r} that it promised.")
    if problem := why_not(caption):
        raise DataProblem(f"{where}, sample {sample_id!r}: {problem[1]}")
    held = targets.get(wanted.image) if wanted.image_is_target and isinstance(targets, dict) else inputs
    coded = held.get(wanted.image) if isinstance(held, dict) else None
    if not isinstance(coded, str):
        raise DataProblem(f"{where} sends sample {sample_id!r} without the picture {wanted.image!r} that it promised.")
    return Sample(sample_id, caption.strip(), _picture(coded, wanted, f"{where}, sample {sample_id!r}"))


def named_by_caption(said: Any, wanted: Fields, where: str) -> tuple[Sample, int]:
    """The same, called by its caption, and a digest of the server's own name for it. Raises DataProblem."""
    found = sample(said, wanted, where)
    name = sha256(found.caption.encode("utf-8", "replace")).hexdigest()[:32]
    key = sha256(f"{found.id}\0{name}".encode("utf-8", "replace")).digest()[:8]
    return Sample(name, found.caption, found.image), int.from_bytes(key, "big")


def _picture(coded: str, wanted: Fields, where: str) -> bytes:
    if len(coded) > MAX_BYTES * 4 // 3 + 4:
        raise DataProblem(
            f"{where}: its picture has {len(coded) * 3 / 4e6:.1f} MB; at most {MAX_BYTES >> 20} are taken."
        )
    try:
        data = base64.b64decode(coded, validate=True)
        image = open_image(data)  # its beginning alone: format and size
    except binascii.Error:
        raise DataProblem(f"{where}: its picture is not base64.") from None
    except BadImage as error:
        raise DataProblem(f"{where}: {error}") from None
    if wanted.side is not None and (image.height, image.width) != wanted.side:
        height, width = wanted.side
        raise DataProblem(f"{where}: {width} x {height} px were promised, {image.width} x {image.height} px came.")
    return data


def _named(where: str, found: Any) -> dict[str, dict[str, Any]]:
    if (
        not isinstance(found, dict)
        or len(found) > _MAX_FIELDS
        or not all(isinstance(one, dict) for one in found.values())
    ):
        raise DataProblem(f"{where} does not say what inputs and outputs it has: {begun(repr(found))}.")
    return found


def _side(where: str, shape: Any) -> tuple[int, int] | None:
    """Of (channels, height, width) as EIR has it; a shape that leaves it open may be null."""
    if shape is None:
        return None
    numbers = isinstance(shape, list) and all(isinstance(n, int) and 0 < n <= _MAX_SIDE for n in shape)
    if not numbers or len(shape) != 3:
        raise DataProblem(f"{where} states a shape of {begun(repr(shape))}; channels, height and width are needed.")
    return shape[1], shape[2]
