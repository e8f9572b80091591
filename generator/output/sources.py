"""What a picture is made from beside its settings: the bytes of given pictures, and of weights that are one's own.

A setting names a file; what the file holds may be another thing tomorrow. Its sha256 goes into the picture, so that
who draws it again is told.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from characters.brief import Brief
from generator.images.decode import MAX_BYTES, BadImage, decode_image
from generator.params import Params
from generator.params.lora import parse_loras
from generator.prompts import with_another

_SHA256 = re.compile("[0-9a-f]{64}")
PICTURES = ("init_image", "mask_image", "image_prompts")  # settings that name pictures
WEIGHTS = ("checkpoint", "upscaler", "clip", "lora")  # settings that name weights


class SourceChanged(Brief, ValueError):
    """Something a picture was made from is not there any more, or is another thing now; one sentence, what to give."""


@dataclass(frozen=True)
class Sources:
    """sha256 in hex by the names that the settings give: of each given picture's file, of each of one's own weights."""

    pictures: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.pictures or self.weights)

    def plain(self) -> dict[str, dict[str, str]]:
        """For JSON; what is empty is left out."""
        parts = {"pictures": dict(self.pictures), "weights": dict(self.weights)}
        return {name: part for name, part in parts.items() if part}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Sources:
        """Those a picture's settings tell of; none in what older versions wrote."""
        told = settings.get("sources")
        told = told if isinstance(told, dict) else {}
        parts = [told.get(name) for name in ("pictures", "weights")]
        return cls(
            *({k: v for k, v in part.items() if _is_hash(v)} if isinstance(part, dict) else {} for part in parts)
        )


NONE = Sources()


class Given:
    """The pictures a drawing is made from, each read once: what is drawn from is what was hashed."""

    def __init__(self, references: Iterable[str], read: Callable[[str], bytes] | None = None) -> None:
        """references: paths, or whatever `read` takes. Raises BadImage for one that is not there or no picture."""
        self._images: dict[str, Image.Image] = {}
        self.hashes: dict[str, str] = {}
        for reference in dict.fromkeys(references):
            data = (read or read_file)(reference)
            try:
                self._images[reference] = decode_image(data)
            except BadImage as error:
                raise BadImage(f"Cannot use the picture {reference}: {str(error).rstrip('.')}.") from None
            self.hashes[reference] = hashlib.sha256(data).hexdigest()

    def __call__(self, reference: str) -> Image.Image:
        """As engines read pictures (Host.read_image)."""
        return self._images[reference]


def read_file(path: str) -> bytes:
    """The bytes of a picture's file. Raises BadImage."""
    try:
        is_too_large = Path(path).stat().st_size > MAX_BYTES
        data = b"" if is_too_large else Path(path).read_bytes()
    except OSError as error:
        raise BadImage(f"Cannot read the picture {path}: {error.strerror}.") from None
    except ValueError:  # a NUL, or half of a character
        raise BadImage(f"Cannot read the picture {path!r}: no file can have such a name.") from None
    if is_too_large:
        raise BadImage(f"Cannot use the picture {path}: it has more than {MAX_BYTES >> 20} MB.")
    return data


def check_unchanged(
    recorded: Sources, now: Sources, params: Params, given: Collection[str], name: Callable[[str], str]
) -> None:
    """Raises SourceChanged where something a picture was made from is another thing now.

    given: settings that were given anew, whose word holds. name: how a setting's value begins where it
    is given (--init-image, and a blank).
    """
    for setting in [one for one in (*PICTURES, *WEIGHTS) if one not in given]:
        for reference in named_in(params, setting):
            kind = "pictures" if setting in PICTURES else "weights"
            was, is_now = (getattr(one, kind).get(reference) for one in (recorded, now))
            if was and is_now and was != is_now:
                again = _written(name(setting), _value(params, setting))
                raise SourceChanged(
                    f"{reference} is not what this picture was made with any more: its sha256 was {was[:12]}... and "
                    f"is {is_now[:12]}... now. To draw with it as it is now, write {again}."
                )


def check_there(
    params: Params, given: Collection[str], name: Callable[[str], str], there: Callable[[str], bool]
) -> None:
    """Raises SourceChanged where a picture that was given once is gone. given, name: as `check_unchanged`."""
    for setting in [one for one in PICTURES if one not in given]:
        for reference in named_in(params, setting):
            if not there(reference):
                wanted = _written(name(setting), _with_file(params, setting, reference))
                raise SourceChanged(f"{reference} is not there any more; give it with {wanted}.")


def untold(recorded: Sources, now: Sources, params: Params, given: Collection[str]) -> str:
    """The pictures of which nothing was recorded, in words; empty where there are none."""
    named = [one for setting in PICTURES if setting not in given for one in named_in(params, setting)]
    return ", ".join(one for one in dict.fromkeys(named) if one in now.pictures and one not in recorded.pictures)


def named_in(params: Params, setting: str) -> list[str]:
    """What a setting names: pictures, or weights."""
    value = getattr(params, setting, None)
    if not value:
        return []
    if setting == "image_prompts":  # `sources` has them last
        return list(params.sources[sum(bool(getattr(params, name, None)) for name in PICTURES[:2]) :])
    if setting == "lora":
        return [f"lora/{one.name}" for one in parse_loras(value)]
    return [value] if isinstance(value, str) else list(value)


def _with_file(params: Params, setting: str, gone: str) -> str:
    """The setting's value with FILE in the place of a picture; the others keep their names and weights."""
    if setting != "image_prompts":
        return "FILE"
    value: str = getattr(params, setting)
    return with_another(value, gone, "FILE")


def _value(params: Params, setting: str) -> str:
    value = getattr(params, setting)
    return value if isinstance(value, str) else ",".join(value)


def _written(begins: str, text: str) -> str:
    """A setting and its value as they are given: in quotes where a shell needs them, and in Python, but for FILE."""
    bare = re.fullmatch(r"[\w./-]+", text) and (text == "FILE" or not begins.endswith("="))
    return begins + (text if bare else json.dumps(text, ensure_ascii=False))


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
