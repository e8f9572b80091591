"""A comparison: one prompt over the values of one or two settings, every cell checked before anything is queued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from generator import registry
from generator.params import BadParams, validate
from pages import _form

MOST_CELLS = 48
ENGINE, PROMPT = "engine", "prompt"
ANY = ("any", "none")  # as a style: none in particular


@dataclass(frozen=True)
class Axis:
    """A setting, or the engine itself, and the values it takes, as they were typed."""

    name: str
    values: tuple[str, ...]

    def layout(self) -> dict[str, Any]:
        """As the sheet keeps it."""
        return {"name": self.name, "values": list(self.values)}


def axis(name: str, typed: str) -> Axis:
    """The values typed between commas, prompts between semicolons. Raises BadParams for none, an empty or a repeated
    one."""
    between, what = (";", "semicolons") if name == PROMPT else (",", "commas")  # prompts have commas of their own
    values = tuple(value.strip() for value in typed.split(between))
    if not typed.strip():
        raise BadParams(f"Write the values of {name} with {what} between them, for example: {example(name)}")
    if "" in values:
        raise BadParams(f"The values of {name} have an empty place between two {what}: {typed.strip()}")
    repeated = next((value for value in values if values.count(value) > 1), None)
    if repeated is not None:
        raise BadParams(f"The value {repeated} of {name} is there twice.")
    return Axis(name, values)


def example(name: str) -> str:
    """Values somebody might type for a setting."""
    known = {
        ENGINE: ", ".join(registry.drawing_engines()[:2]),
        PROMPT: "a red heart; a blue car, from the side",
        "seed": "1, 2, 3",
        "style": ", ".join(list(registry.STYLES)[:3]),
        "cutn": "8, 16",
        "learning_rate": ".02, .05",
        "steps": "10, 20, 40",
    }
    return known.get(name, "one, another")


def _fields(engine: str) -> list[_form.Field]:
    """What the form offers for the engine's first checkpoint."""
    checkpoints = registry.ENGINES[engine].checkpoints
    return [field for fields in _form.fields(engine, checkpoints[0], checkpoints).values() for field in fields]


def settings_of(engine: str) -> list[str]:
    """What can be compared with this engine at hand: engine, prompt, seed, style, and what the form offers."""
    names = [field.name for field in _fields(engine)]
    first = [ENGINE, PROMPT, "seed", "style"]
    return [*first, *(name for name in names if name not in (*first, *_form.OWN_WIDGET))]


def cells(
    engine: str, base: Mapping[str, Any], rows: Axis, columns: Axis | None
) -> list[tuple[str, str, dict[str, Any]]]:
    """(label, engine, settings) of every cell, row by row.

    base: the settings all cells have, prompt and seed among them. Raises BadParams, naming the cell, for the first
    one that cannot be drawn, and for more than MOST_CELLS.
    """
    if columns is not None and columns.name == rows.name:
        raise BadParams(f"Rows and columns are both {rows.name}; choose two settings, or no columns.")
    count = len(rows.values) * (len(columns.values) if columns else 1)
    if count > MOST_CELLS:
        raise BadParams(f"This makes {count} pictures; at most {MOST_CELLS} are allowed. Take some values away.")
    axes = [rows] if columns is None else [rows, columns]
    made = []
    for chosen in product(*(one.values for one in axes)):
        named = dict(zip((one.name for one in axes), chosen, strict=True))
        label = " · ".join(f"{name} {value}" for name, value in named.items())
        its_engine = named.pop(ENGINE, engine)
        try:
            values = {**base, **{name: _value(its_engine, name, typed) for name, typed in named.items()}}
            if "style" not in named and not _styled(its_engine, values):
                values.pop("style", None)
            validate(its_engine, values)
        except (BadParams, registry.UnknownName) as error:
            raise BadParams(f"{label}: {error}") from None
        made.append((label, its_engine, values))
    return made


def _styled(engine: str, values: Mapping[str, Any]) -> bool:
    checkpoint = str(values.get("checkpoint") or registry.first_checkpoint(engine, ""))
    try:
        return registry.checkpoint_spec(checkpoint).styled
    except registry.UnknownName:
        return True  # explained where it is checked


def _value(engine: str, name: str, typed: str) -> Any:
    """What was typed as the setting wants it; left as typed where it does not fit, so that the check explains it."""
    if name == "style":
        return None if typed.lower() in ANY else typed
    field = next((field for field in _fields(engine) if field.name == name), None)
    if field is None:
        return typed
    if field.kind == "choices":
        return tuple(part.strip() for part in typed.split("+"))
    if field.kind == "choice":
        return next((choice for choice in field.choices if str(choice) == typed), typed)
    return typed  # whole numbers, numbers and switches are read out of text by the declaration
