"""Models by the names that clients of other systems use: an engine, a checkpoint, or `engine/checkpoint`."""

from __future__ import annotations

from generator import registry
from generator.registry import UnknownName
from studio.context import Studio
from studio.limits import first_choice, offered_engines
from studio.settings_form import checkpoints

Model = tuple[str, str]  # engine, checkpoint


def offered(studio: Studio) -> dict[str, Model]:
    """Every name and what it means, the one of the first model first: engines alone, then with each checkpoint.

    A checkpoint alone is a name as well, where one engine has it.
    """
    first = first_model(studio)
    engines = offered_engines(studio)
    engines.sort(key=lambda name: name != first[0])
    found: dict[str, Model] = {}
    for engine in engines:
        found[engine] = engine, first[1] if engine == first[0] else registry.first_checkpoint(engine, "")
    for engine in engines:
        for checkpoint in checkpoints(studio, engine):
            found[f"{engine}/{checkpoint}"] = engine, checkpoint
    return found


def first_model(studio: Studio) -> Model:
    """What a new page shows first."""
    engine, checkpoint = first_choice(studio)
    return engine, registry.first_checkpoint(engine, checkpoint)


def find(studio: Studio, name: str | None, *, aliases: tuple[str, ...] = ()) -> Model:
    """The model of this name; the first one for none, and for `aliases`. Raises UnknownName with the valid ones."""
    if not name or name in aliases:
        return first_model(studio)
    named = offered(studio)
    if name in named:
        return named[name]
    alone = [model for model in named.values() if model[1] == name]
    if alone:
        return alone[0]
    raise UnknownName("model", name, list(named))
