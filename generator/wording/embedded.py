"""What the embedded models are told of a prompt: English words, names for emoji, and the style that the words name.

Their text tower was distilled on English and has no emoji; the CLIPs and text encoders of the published checkpoints
know both, in some measure, and are told what was typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from characters.seen import as_seen
from generator import registry
from generator.params import drawing_class
from generator.params.base import MAX_PROMPT_CHARACTERS
from generator.wording.emoji import name_emoji
from generator.wording.known_words import is_english, unknown_words
from generator.wording.languages import translate
from generator.wording.likenesses import liken
from generator.wording.reading import Notice, Reading
from generator.wording.style_words import read_style

EMBEDDED_CLIPS = frozenset(name for name, row in registry.CLIP_MODELS.items() if row.embedded)
MAX_WORDS = 8  # that one notice names


def read_for_embedded(reading: Reading) -> Reading:
    """Every text of a wish in the words of the training data, the style that the prompt names, and what is to be said.

    With `as_typed` the texts stay as they are, and only what will not be understood is said.
    """
    if not _read_by_embedded(reading):
        return reading
    for name in reading.texts:
        before, chosen = reading.texts[name], "style" in reading.values
        if len(before) > MAX_PROMPT_CHARACTERS:
            continue  # `validate` refuses it
        if reading.values.get("as_typed") is not True:
            reading = _named(_translated(reading, name), name)
            if name == "prompt":
                reading = _styled(reading)
            reading = _likened(reading, name)
        read_style_too = not chosen and "style" in reading.values
        if read_style_too or reading.texts[name] != before:
            reading = reading.says(_read_as(reading, name, read_style_too))
        reading = reading.says(*_not_understood(reading.texts[name]))
    return reading


def _read_by_embedded(reading: Reading) -> bool:
    """Whether the embedded text tower reads the prompt: for an embedded generator, or for a CLIP that guides."""
    row = _checkpoint(reading)
    if row is None:
        return False
    default = drawing_class(reading.engine).model_fields["clip"].default
    clips: Any = reading.values.get("clip", row.defaults.get("clip", default))
    names = clips if isinstance(clips, list | tuple) else ()
    return row.embedded or any(map(_reads_as_embedded, names))


def _reads_as_embedded(clip: Any) -> bool:
    """Whether it is an embedded CLIP, or one of one's own, whose text tower has learnt from the embedded one's."""
    return isinstance(clip, str) and (clip in EMBEDDED_CLIPS or registry.is_own_clip(clip))


def _checkpoint(reading: Reading) -> registry.Checkpoint | None:
    """The one that draws; None for a name that `validate` will refuse."""
    name = reading.values.get("checkpoint", drawing_class(reading.engine).model_fields["checkpoint"].default)
    try:
        return registry.checkpoint(name) if isinstance(name, str) else None
    except registry.UnknownName:
        return None


def _translated(reading: Reading, name: str) -> Reading:
    made = translate(reading.texts[name])
    return reading.reads(name, made.text, f"language: {made.language}") if made.language else reading


def _named(reading: Reading, name: str) -> Reading:
    named = name_emoji(reading.texts[name])
    if named.unknown:
        reading = reading.says(
            Notice("This model has no name for {emoji} and cannot read it.", emoji=" ".join(named.unknown))
        )
    choices = (f"{emoji}: {word}" for emoji, word in named.read)
    return reading.reads(name, named.text, *choices) if named.read else reading


def _likened(reading: Reading, name: str) -> Reading:
    likened = liken(reading.texts[name])
    choices = (f"{typed}: {read}" for typed, read in likened.read)
    return reading.reads(name, likened.text, *choices) if likened.read else reading


def _styled(reading: Reading) -> Reading:
    """The style that the words name, where none was chosen; None, any style, is a choice too."""
    row = _checkpoint(reading)
    if "style" in reading.values or row is None or not row.styled:
        return reading
    read = read_style(reading.texts["prompt"])
    if read.style is None:
        return reading
    return reading.reads("prompt", read.text, f"style: {read.style} ({read.said})").sets("style", read.style)


def _read_as(reading: Reading, name: str, with_style: bool) -> Notice:
    text = reading.texts[name]
    if name != "prompt":
        return Notice("The negative prompt is read as: {text}", text=text, reads=True)
    if with_style:
        title = registry.STYLES[str(reading.values["style"])]
        return Notice("Read as: {text}. Style, from the words: {style}.", text=text, style=title, reads=True)
    return Notice("Read as: {text}", text=text, reads=True)


def _not_understood(text: str) -> tuple[Notice, ...]:
    if not is_english(text):
        return (Notice("This model reads English; “{text}” is not understood. Write in English.", text=text),)
    unknown = unknown_words(text)
    if not unknown:
        return ()
    words = ", ".join(f"“{word}”" for word in unknown[:MAX_WORDS]) + ("…" if len(unknown) > MAX_WORDS else "")
    return (Notice("This model, made from emoji and clip art, may not know {words}.", words=words),)


def as_ranked(prompt: str, clip: Sequence[str]) -> str:
    """What pictures are ranked by, for these CLIPs: in the words that the embedded ones know, if there is one."""
    if len(prompt) > MAX_PROMPT_CHARACTERS or not any(map(_reads_as_embedded, clip)):
        return prompt
    return liken(name_emoji(translate(as_seen(prompt) or prompt).text).text).text


def style_named(prompt: str) -> str | None:
    """The style that the words of a prompt name, in any of the languages; None where they name none."""
    return read_style(translate(prompt).text).style
