"""The classes a generator draws, found by what people call them. Importing this module does not import torch."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from pathlib import Path

from characters.brief import Brief

# The names torchvision gives the 1000 classes of ImageNet (BSD-3-Clause), one a line, in the order of their numbers.
IMAGENET = Path(__file__).parent / "imagenet_classes.txt"
SHOWN = 8


class UnknownClass(Brief, ValueError):
    """A class name the generator was not trained on; the message has those that come near."""


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """1000 names; the number of a class is its place."""
    return tuple(IMAGENET.read_text(encoding="utf-8").splitlines())


def class_index(name: str, names: Sequence[str]) -> int:
    """The number of the class called `name`, whatever its case, hyphens and underscores; a number stands for itself.

    Raises UnknownClass.
    """
    wanted = _plain(name)
    plain = [_plain(each) for each in names]
    if wanted in plain:
        return plain.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    near = [names[plain.index(each)] for each in _near(wanted, plain)] or list(names[:SHOWN])
    raise UnknownClass(f"no class {name!r} among {len(names)}; near are {', '.join(near)}.")


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def _near(wanted: str, plain: list[str]) -> list[str]:
    """Classes that share a word with what was wanted, then those spelt alike."""
    words = set(wanted.split())
    same_word = [each for each in plain if words & set(each.split())]
    return list(dict.fromkeys(same_word + difflib.get_close_matches(wanted, plain, SHOWN, cutoff=0.6)))[:SHOWN]
