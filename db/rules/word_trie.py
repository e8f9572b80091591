"""The refused words as one tree of letters; see db/rules/word_filter.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from characters.look_alikes import Shape, shapes
from db.rules.word_tokens import has_accents, letters_of, shapes_of

LONG_ENOUGH = 5  # letters of a word in which ß may stand for its ss: aß is no ass
# Alphabets that set no gaps between words: there a word is found anywhere.
_NO_GAPS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
# rn begins no word of English, so only there is it no letter pair of its own; cl for d would make a dick of a click.
_TWINS = (("ß", "ss"), ("ss", "ß"), ("w", "vv"), ("m", "rn"))
_PARTS = re.compile(r"[\s\-_.,/]+")


@dataclass(slots=True, eq=False)
class Node:
    """A beginning of refused words. word: as the host wrote it, where one ends here; gap: a phrase has a gap here.

    plain: the word has no accents.
    """

    following: dict[str, list[Node]] = field(default_factory=dict)
    word: str | None = None
    gap: bool = False
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Trie:
    """The words. anywhere: (word, letters) of those that are found within others, in alphabets without gaps."""

    root: Node
    anywhere: tuple[tuple[str, str], ...]


@lru_cache(maxsize=8)
def trie(words: tuple[str, ...]) -> Trie:
    """The tree of a list of words and phrases."""
    root = Node()
    letters = [(word, letters_of(word)) for word in words]
    for word in words:
        parts = [own for part in _PARTS.split(word) if (own := [shape for shape in shapes_of(part) if shape.own])]
        for spelling in _spellings(parts):
            node = root
            for at, part in enumerate(spelling):
                for shape in part:
                    node = _add(node, shape)
                node.gap = node.gap or at + 1 < len(spelling)
            if node is not root and node.word is None:
                node.word, node.plain = word, not has_accents(word)
    return Trie(root, tuple((word, own) for word, own in letters if _NO_GAPS.search(own)))


def _spellings(parts: list[list[Shape]]) -> Iterator[list[list[Shape]]]:
    """A phrase as it is, and with what is written, or looks, like two of its letters or like one."""
    yield parts
    spelled = ["".join(shape.own for shape in part) for part in parts]
    for old, new in _TWINS:
        if old == "ss" and sum(map(len, spelled)) < LONG_ENOUGH:
            continue
        only_first = old == "m"
        changed = [
            (new + one[1:] if one.startswith(old) else one) if only_first else one.replace(old, new) for one in spelled
        ]
        if changed != spelled:
            yield [[shape for character in one for shape in shapes(character)] for one in changed]


def _add(node: Node, shape: Shape) -> Node:
    """The node after this letter; one of another alphabet may be written with the Latin letter that looks the same."""
    there = next(iter(node.following.get(shape.own, ())), None)
    if there is None:
        there = Node()
        for letter in {shape.own, *(shape.same if shape.script != "LATIN" else ())}:
            node.following.setdefault(letter, []).append(there)
    return there
