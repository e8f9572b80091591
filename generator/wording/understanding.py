"""The understandings one after another, and what is kept of them with the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from characters.seen import as_seen
from generator.params.base import in_one_line
from generator.wording import parted, wildcards
from generator.wording.embedded import read_for_embedded
from generator.wording.reading import TEXTS, Notice, Reading, Sources, Understanding

# In this order: what one of them writes, those after it read.
UNDERSTANDINGS: tuple[Understanding, ...] = (wildcards.draw, parted.tell, read_for_embedded)


MAX_TYPED = 5000  # characters; a longer text is left for `validate` to refuse


@dataclass(frozen=True)
class Understood:
    """values: for `validate`; notices: to be shown before the picture is queued, nothing to be shown where empty."""

    values: dict[str, Any]
    notices: tuple[Notice, ...] = ()


def understand(
    engine: str, values: Mapping[str, Any], sources: Sources | None = None, *, repeats: Mapping[str, Any] | None = None
) -> Understood:
    """The settings of one picture as they were typed -> as the engine is told them.

    What was read how is recorded in the setting `wording`. A text that `wording` says to be the outcome already, as in
    the settings of a finished picture, is left as it is, and so is one that is as `repeats`, the settings of such a
    picture, has it. Values of a wrong type are left for `validate` to refuse.
    Raises BadParams where something that was meant cannot be had, as a wildcard without a file.
    """
    made = {name: value for name, value in values.items() if name != "wording"}
    kept = _settled(values)
    there = {name: text for name in TEXTS if isinstance(text := values.get(name), str) and 0 < len(text) <= MAX_TYPED}
    # What nobody sees of a text is none of it; one of that alone is left for `validate` to refuse.
    typed = {
        name: as_seen(text) or text
        for name, text in there.items()
        if name not in kept and text != (repeats or {}).get(name)
    }
    reading = Reading(engine, made, typed, sources or Sources())
    for understanding in UNDERSTANDINGS:
        reading = understanding(reading)
    wording: dict[str, Any] = dict(kept)
    for name, text in typed.items():
        became, choices = reading.texts[name], reading.choices.get(name, ())
        if became != text or choices:
            wording[name] = {"typed": text, "became": became, "choices": tuple(dict.fromkeys(choices))}
    made = {**reading.values, **reading.texts}
    return Understood({**made, "wording": wording} if wording else made, tuple(dict.fromkeys(reading.notices)))


def _settled(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `wording` says of the texts that are still what it says they became."""
    wording = values.get("wording")
    if not isinstance(wording, Mapping):
        return {}
    return {
        name: said
        for name, said in wording.items()
        if isinstance(said, Mapping)
        and isinstance(said.get("became"), str)
        and isinstance(values.get(name), str)
        and in_one_line(said["became"]) == in_one_line(values[name])
    }
