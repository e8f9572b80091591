"""The parts of a prompt: `text:weight:stop`, several separated by `|` (VQGAN+CLIP notebook syntax, Crowson 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from characters.brief import Brief
from generator.prompts.emphasis import Fragment, fragments_of
from generator.prompts.signs import hide, split, split_hidden, written
from generator.prompts.weights import MAX_LENGTH, Tail, tail_of

MAX_PROMPTS = 16


class PromptError(Brief, ValueError):
    """A prompt that cannot be drawn; the message shows the part and what is allowed."""


@dataclass(frozen=True)
class Prompt:
    """One text (or picture reference), its weight (negative avoids) and its stop.

    stop: a spherical distance below which this prompt no longer guides (-inf: never). fragments: where words of the
    text are weighed, all of it in pieces, each with its weight; else none.
    """

    text: str
    weight: float = 1.0
    stop: float = -math.inf
    fragments: tuple[Fragment, ...] = ()

    @property
    def pieces(self) -> tuple[str, ...]:
        """The text as CLIP is to read it, piece by piece."""
        return tuple(piece for piece, _ in self.fragments) or (self.text,)


def parse_prompts(prompts: str, *, negative_only: bool = False) -> tuple[Prompt, ...]:
    """`"a red heart:2 | blurry:-1"` -> two Prompts, the words between brackets weighed.

    negative_only permits a list in which nothing has a weight above 0. Raises PromptError.
    """
    parts = checked([part.strip() for part in split_hidden(hide(prompts))])
    parsed = tuple(_parsed(part, alone=len(parts) == 1) for part in parts)
    return something_to_draw(parsed, negative_only)


def parse_text(text: str, weight: float = 1.0) -> Prompt:
    """All of a text as one Prompt, as a setting of its own has it: words between brackets are weighed, and nothing is a
    part or a weight of the whole."""
    return _read(hide(text), weight, -math.inf)


def main_prompt(prompts: str) -> Prompt:
    """The part with the greatest weight: the one that a start is drawn from. Raises PromptError."""
    return max(parse_prompts(prompts), key=lambda prompt: prompt.weight)


def checked(parts: list[str]) -> list[str]:
    """The parts. Raises PromptError for an empty one and for too many."""
    if any(not part for part in parts):
        raise PromptError("has an empty part next to a |. Write text on both sides of each |.")
    if len(parts) > MAX_PROMPTS:
        raise PromptError(f"has {len(parts)} parts; at most {MAX_PROMPTS} are allowed.")
    return parts


def something_to_draw(parsed: tuple[Prompt, ...], negative_only: bool) -> tuple[Prompt, ...]:
    """The prompts. Raises PromptError where all of them avoid."""
    if not negative_only and all(p.weight <= 0 for p in parsed):
        raise PromptError(
            "has no part with a weight above 0, so there is nothing to draw. "
            r"Where the number belongs to the text, write \: for the colon."
        )
    return parsed


def weighed(text: str, weight: float) -> str:
    """A text as one part with that weight, written so that it is read as that, whatever colons and | are in it."""
    return _written(Tail(hide(text).strip(), f"{weight:g}"))


def as_text(text: str) -> str:
    """A text as one part of weight 1, written so that it is read as that: a | as a comma, a weight as text."""
    made = hide(",".join(split(text)))
    tail = tail_of(made, alone=True)
    if not tail.weight:
        return written(made)
    end = made.index(tail.text) + len(tail.text)
    return written(made[:end]) + made[end:].replace(":", r"\:")


def append_words(prompts: str, words: str) -> str:
    """`words` added to the first part's text: ("a tree:2 | fog:-1", "in oil") -> "a tree,in oil:2 | fog:-1"."""
    if len(prompts) > MAX_LENGTH:
        return f"{prompts},{words}"
    first, *others = split_hidden(hide(prompts))
    tail = tail_of(first, alone=not others)
    added = ",".join(hide(words).split("|"))
    inner, quoted = _unquoted(tail.text)
    text = f"{inner.rstrip(' ,.，。')},{added}"
    made = _written(Tail(f'"{text}"' if quoted and tail.weight else text, tail.weight, tail.stop))
    return " | ".join([made, *(written(other).strip() for other in others)])


def _parsed(part: str, alone: bool) -> Prompt:
    tail = tail_of(part, alone=alone)
    text = _unquoted(tail.text)[0] if tail.weight else tail.text
    read = _read(text, float(tail.weight or 1), float(tail.stop or -math.inf))
    if not read.text:
        raise PromptError(f"part {written(part)!r} has a weight but no text.")
    return read


def _read(text: str, weight: float, stop: float) -> Prompt:
    fragments = fragments_of(text)
    read = "".join(piece for piece, _ in fragments)
    return Prompt(read.strip(), weight, stop, fragments if any(w != 1 for _, w in fragments) else ())


def _unquoted(text: str) -> tuple[str, bool]:
    quoted = len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]
    return (text[1:-1], True) if quoted else (text, False)


def _written(tail: Tail) -> str:
    """The part, its text in quotes where it would be read otherwise."""
    numbers = [number for number in (tail.weight, tail.stop) if number]
    made = ":".join([tail.text, *numbers])
    if len(split_hidden(made)) == 1 and all(tail_of(made, alone=alone) == tail for alone in (False, True)):
        return written(made)
    inner = _unquoted(tail.text)[0].replace('"', "'")
    return written(":".join([f'"{inner}"', *(numbers or ["1"])]))
