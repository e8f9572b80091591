"""Which English words the embedded models draw something sensible for, one a line, for generator.wording.

Known are the words of the captions, and of WordNet's tagged texts, which the text tower was distilled on: adjectives
and verbs, and nouns that the tower reads much as it reads the name of an emoji. A noun for which that name is also one
of its own hypernyms in WordNet (a falcon, read much as "a bird") may lie farther away. Nouns that training showed
nothing like lie near no name, or near one that is only spelled alike: they are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generator.models.clip import ClipModel
from generator.training.captions import (
    BETWEEN,
    COLOURS,
    FORMS,
    QUALITIES,
    STYLE_WORDS,
    names_of,
    plain,
    with_article,
    wordnet_words,
)

NEAR = 0.66  # cosine to the nearest name from which a noun of tagged texts is drawn as something like it
NEAR_KIND = 0.6  # where that name is a kind that it belongs to
UP = 4  # hypernyms of hypernyms that are looked at
WORD = re.compile(r"[a-z]{2,}")
_LETTERS = re.compile(r"(?:an? )?(?:\w|\w\w|input .*|.*\bbutton)")  # of signs: a word read as one is read as nothing


class WordNet:
    """The nouns of WordNet's data files: what each is a kind of, and the forms that do not follow the rules."""

    def __init__(self, folder: Path) -> None:
        self.synonyms: dict[str, list[str]] = {}
        self.kinds: dict[str, list[str]] = {}
        self.synsets: dict[str, list[str]] = {}
        for line in (folder / "data.noun").read_text().splitlines():
            if line.startswith(" "):
                continue
            fields = line.split(" | ")[0].split()
            count = int(fields[3], 16)
            words = [fields[4 + 2 * n].lower().replace("_", " ") for n in range(count)]
            at = 4 + 2 * count
            pointers = [fields[at + 1 + 4 * n : at + 5 + 4 * n] for n in range(int(fields[at]))]
            self.synonyms[fields[0]] = words
            self.kinds[fields[0]] = [target for sign, target, *_ in pointers if sign.startswith("@")]
            for word in words:
                self.synsets.setdefault(word, []).append(fields[0])
        self.irregular = [
            tuple(line.split()[:2])
            for part in ("noun", "verb", "adj")
            for line in (folder / f"{part}.exc").read_text().splitlines()
        ]

    def kinds_of(self, word: str) -> set[str]:
        """Its synonyms, and the words for what it is a kind of."""
        reached = set(level := self.synsets.get(word, []))
        for _ in range(UP):
            level = [kind for synset in level for kind in self.kinds[synset]]
            reached.update(level)
        return {name for synset in reached for name in self.synonyms[synset]}


def caption_words(concepts: Iterable[dict[str, Any]]) -> set[str]:
    """Every word of the captions and of the forms that they were put into."""
    texts: list[str] = [*COLOURS, *QUALITIES, *FORMS, *BETWEEN, *STYLE_WORDS, *STYLE_WORDS.values()]
    for concept in concepts:
        texts += [*names_of(concept), *(plain(tag) for tag in concept["tags"])]
    return {word for text in texts for word in WORD.findall(folded(text))}


def folded(text: str) -> str:
    """In small letters without accents, as `generator.wording.known_words` looks words up."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


@torch.no_grad()
def read(clip: ClipModel, texts: list[str]) -> Tensor:
    """The vectors (N, 384) that the embedded generators read."""
    return torch.cat([clip.text_features(texts[at : at + 64]) for at in range(0, len(texts), 64)])


def nearest(clip: ClipModel, words: list[str], names: list[str]) -> Iterator[tuple[str, float, str]]:
    """(word, cosine, name) for the name that the tower reads most alike."""
    known = read(clip, names)
    for at in range(0, len(words), 1024):
        some = words[at : at + 1024]
        best = (read(clip, [with_article(word) for word in some]) @ known.T).max(dim=1)
        yield from zip(some, best.values.tolist(), (names[n] for n in best.indices.tolist()), strict=True)


def known_words(concepts: list[dict[str, Any]], folder: Path, clip: ClipModel) -> list[str]:
    """The list, sorted. folder: WordNet's."""
    wordnet, lemmas = WordNet(folder), wordnet_words(folder)
    known = caption_words(concepts)
    known.update(word for part in ("adj", "verb") for word in lemmas[part] if WORD.fullmatch(word))
    names = list(dict.fromkeys(with_article(name) for concept in concepts for name in names_of(concept)))
    tagged = set(lemmas["noun"])
    nouns = sorted({word for word in (*lemmas["noun"], *lemmas["rare"]) if WORD.fullmatch(word)} - known)
    for word, cosine, name in nearest(clip, nouns, names):
        kind = bool(wordnet.kinds_of(word) & {*name.split(), name.removeprefix("an ").removeprefix("a ")})
        if cosine >= (NEAR_KIND if kind else NEAR) and (word in tagged or kind) and not _LETTERS.fullmatch(name):
            known.add(word)
    known.update(form for form, base in wordnet.irregular if base in known and WORD.fullmatch(form))
    return sorted(known)
