"""CLIP's tokens (Radford et al. 2021, arXiv:2103.00020) by openai-clip's tokenizer, without torch.

How many a text has, and which words fall off its end.

The package's own __init__ needs torchvision and pkg_resources; `clip.simple_tokenizer` needs neither.
"""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import re
import sys
import types
from collections.abc import Sequence
from typing import Any

from characters.brief import Brief

CONTEXT = 77  # places of a row, the start and the end token among them
SHORT = 60  # bytes
LONG_WORD = 24  # characters; of a longer one it is said from which of them on it is not read
MAX_KEPT = 50_000  # words whose tokens are kept


class PromptTooLong(Brief, ValueError):
    """A text has more tokens than CLIP reads. what: as what it was given, "negative prompt"; lost: what falls off."""

    def __init__(self, lost: str, tokens: int, permitted: int, what: str = "prompt") -> None:
        self.lost, self.tokens, self.permitted, self.what = lost, tokens, permitted, what
        super().__init__(f"the {what} has {tokens} tokens, {permitted} fit; these words fall off its end: “{lost}”")


def openai_clip(submodule: str) -> Any:
    """`clip.model` or `clip.simple_tokenizer`, imported without the package's own __init__."""
    if "clip" not in sys.modules:
        spec = importlib.util.find_spec("clip")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("no package named clip: install openai-clip")
        package = types.ModuleType("clip")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["clip"] = package
    return importlib.import_module(f"clip.{submodule}")


@functools.cache
def tokenizer() -> Any:
    """OpenAI's byte-pair tokenizer (49,408 tokens); it is read when it is first asked for, in half a second."""
    return openai_clip("simple_tokenizer").SimpleTokenizer()


def own_tokenizer(merges: Sequence[tuple[str, str]]) -> Any:
    """A tokenizer that reads as CLIP's does, with other merges: 256 bytes, 256 of them at a word's end, a token for
    each merge, start and end. Raises ValueError for parts that no token stands for."""
    bpe = copy.copy(tokenizer())
    known = [*bpe.byte_encoder.values(), *(f"{sign}</w>" for sign in bpe.byte_encoder.values())]
    whole = set(known)
    for first, second in merges:
        if first not in whole or second not in whole:
            raise ValueError(f"the merge of {first[:20]!r} and {second[:20]!r} joins what is no token")
        known.append(first + second)
        whole.add(first + second)
    known += ["<|startoftext|>", "<|endoftext|>"]
    bpe.encoder = {token: number for number, token in enumerate(known)}
    bpe.decoder = dict(enumerate(known))
    bpe.bpe_ranks = {(first, second): rank for rank, (first, second) in enumerate(merges)}
    bpe.cache = {}
    return bpe


def encode(text: str, bpe: Any = None) -> list[int]:
    """The numbers of a text's tokens, without start and end. bpe: CLIP's, or one's own."""
    bpe = bpe or tokenizer()
    if len(bpe.cache) > MAX_KEPT or not bpe.cache:  # it would grow with every word anybody ever typed
        bpe.cache = {"<|startoftext|>": "<|startoftext|>", "<|endoftext|>": "<|endoftext|>"}
    found: list[int] = bpe.encode(text)
    return found


def row(fragments: Sequence[str], context_length: int = CONTEXT, what: str = "prompt", bpe: Any = None) -> list[int]:
    """A text, in one piece or several that are read one after another -> start, tokens, end. Raises PromptTooLong."""
    bpe, permitted = bpe or tokenizer(), context_length - 2
    tokens = [token for fragment in fragments for token in encode(fragment, bpe)]
    if len(tokens) > permitted:
        raise PromptTooLong(_beyond("".join(fragments), permitted, bpe), len(tokens), permitted, what)
    return [bpe.encoder["<|startoftext|>"], *tokens, bpe.encoder["<|endoftext|>"]]


def check_length(fragments: Sequence[str], what: str) -> None:
    """Raises PromptTooLong where CLIP would not read all of a text. what: as it is called, "negative prompt"."""
    # No text has more tokens than bytes, but for a sign or two, so the tokenizer is not read for a short one.
    if sum(len(fragment.encode("utf-8", "replace")) for fragment in fragments) > SHORT:
        row(fragments, what=what)


def _beyond(text: str, permitted: int, bpe: Any) -> str:
    """The words of `text` from the first that no longer fits whole."""
    words: list[str] = re.findall(r"\S+", text)
    used = 0
    for number, word in enumerate(words):
        room, used = permitted - used, used + len(encode(word, bpe))
        if used > permitted:
            return " ".join([_rest(word, room, bpe), *words[number + 1 :]])
    return words[-1]


def _rest(word: str, room: int, bpe: Any) -> str:
    """Of a long word, as a row of signs or a sentence without blanks, what does not fit; a short one as it is."""
    if len(word) <= LONG_WORD:
        return word
    fits, too_much = 0, len(word)
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        fits, too_much = (middle, too_much) if len(encode(word[:middle], bpe)) <= room else (fits, middle)
    return word[fits:]
