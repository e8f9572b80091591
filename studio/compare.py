"""A comparison: one prompt over the values of one or two settings, every cell checked before anything is queued."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from characters.seen import as_seen
from db.artefacts import sources
from db.sheets.submissions import NewSheet, Submission
from generator import registry
from generator.params import BadParams, Params, drawing_class, validate
from studio.context import Studio, Submitter
from studio.errors import BadWish, Term
from studio.given import check_own
from studio.limits import check_typed, first_choice
from studio.settings_form import OWN_WIDGET, Field
from studio.settings_form import fields as fields_of
from studio.submit import new_job, starting, submit_sheet
from studio.wording import understood

MAX_CELLS = 48
ENGINE, PROMPT = "engine", "prompt"
ANY = ("any", "none")  # as a style: none in particular


@dataclass(frozen=True)
class Axis:
    """A setting, or the engine itself, and the values it takes, without the blanks around them.

    values: without what nobody sees of them as well; typed: as they came.

    Raises BadParams for none, an empty or a repeated one.
    """

    name: str
    values: tuple[str, ...]
    typed: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "typed", self.values)
        values = tuple(as_seen(value).strip() for value in self.values)
        object.__setattr__(self, "values", values)
        if not values or "" in values:
            raise BadParams(f"{self.name} needs values to compare, none of them empty.")
        repeated = next((value for value in values if values.count(value) > 1), None)
        if repeated is not None:
            raise BadWish("The value {value} of {name} is there twice.", value=repeated, name=self.name)

    def layout(self) -> dict[str, Any]:
        """As the sheet keeps it."""
        return {"name": self.name, "values": list(self.values)}


def compare(
    studio: Studio, submitter: Submitter, engine: str | None, base: Mapping[str, Any], rows: Axis, columns: Axis | None
) -> Submission:
    """Queue every cell as one sheet, or none. Raises as `cells` and `sources.check`, and TooManyQueued.

    engine: None for the one a new page shows first, with its checkpoint where engines are not what is compared.
    base: as `cells` takes it; one random seed for all where none is given or compared.
    """
    compared = [one.name for one in (rows, columns) if one is not None]
    if engine is None:
        engine, checkpoint = first_choice(studio)
        if ENGINE not in compared:
            base = {"checkpoint": registry.first_checkpoint(engine, checkpoint), **base}
    if "seed" not in compared and base.get("seed") is None:
        base = {**base, "seed": secrets.randbelow(2**32)}
    check_typed(studio, [*base.values(), *rows.typed, *(columns.typed if columns else ())])

    def read(its_engine: str, values: dict[str, Any]) -> dict[str, Any]:
        return understood(studio, its_engine, values).values

    made = cells(engine, starting(base), rows, columns, read)
    named = {source for _, _, params in made for source in params.sources}
    check_own(studio, submitter, named)
    sources.check(studio.db, studio.store, named)
    wanted = [(label, new_job(studio, its_engine, params)) for label, its_engine, params in made]
    layout = {"rows": rows.layout(), "columns": columns.layout() if columns else None}
    drawn = (made[0][2].prompt,)
    prompts = next((one.values for one in (rows, columns) if one and one.name == PROMPT), drawn)
    sheet = NewSheet(kind="compare", prompt="; ".join(prompts), wanted=wanted, layout=layout)
    return submit_sheet(studio, submitter, sheet)[0]


def axis(name: str, typed: str) -> Axis:
    """The values typed between commas, prompts between semicolons. Raises BadParams for none, an empty or a repeated
    one."""
    # Prompts have commas of their own.
    between, what = (";", Term("semicolons")) if name == PROMPT else (",", Term("commas"))
    values = tuple(typed.split(between))
    if not as_seen(typed).strip():
        raise BadWish(
            "Give the values of {name}, several with {what} between them, for example: {example}",
            name=name,
            what=what,
            example=example(name),
        )
    if not all(as_seen(value).strip() for value in values):
        raise BadWish(
            "The values of {name} have an empty place between two {what}: {typed}",
            name=name,
            what=what,
            typed=typed.strip(),
        )
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


def _fields(engine: str) -> dict[str, Field]:
    """What the form offers for any of the checkpoints of an engine that draws, by name. Raises UnknownName."""
    drawing_class(engine)
    checkpoints = registry.ENGINES[engine].checkpoints
    groups = [group for one in checkpoints for group in fields_of(engine, one, checkpoints).values()]
    return {field.name: field for group in groups for field in group}


def engines_in(engine: str, name: str, typed: str) -> list[str]:
    """The engines to compare with: those typed where the axis `name` is the engine, else the one chosen."""
    drawing = registry.drawing_engines()
    named = [value.strip() for value in typed.split(",")] if name == ENGINE else []
    return [value for value in dict.fromkeys(named) if value in drawing] or [engine]


def settings_of(engines: Sequence[str]) -> list[str]:
    """What can be compared with all of these engines: the engine, the seed, the style, and what each one's form offers
    for some of its checkpoints, with a value that all permit."""
    first = [ENGINE, PROMPT, "seed", "style"]
    every = [_fields(engine) for engine in engines]
    shared = [name for name in every[0] if all(name in fields for fields in every)]
    return [*first, *(n for n in shared if n not in (*first, *OWN_WIDGET) and _permitted(every, n) is not None)]


def choices(engines: Sequence[str], name: str) -> list[str]:
    """The values of a setting that is one of a closed set which all of these engines permit; none where it is typed."""
    if name == "style":
        return [*registry.STYLES, ANY[0]]
    every = [_fields(engine) for engine in engines]
    if not all(name in fields and fields[name].kind in ("choice", "switch") for fields in every):
        return []
    return _shared(every, name)


def permitted(engines: Sequence[str], name: str) -> str:
    """The values of a setting that all of these engines permit, in words; empty where there is nothing to say."""
    if name == "style":
        return ", ".join(choices(engines, name))
    every = [_fields(engine) for engine in engines]
    return _permitted(every, name) or "" if all(name in fields for fields in every) else ""


def _permitted(every: Sequence[Mapping[str, Field]], name: str) -> str | None:
    """The same; None where the engines have no value in common."""
    fields = [one[name] for one in every]
    if fields[0].kind == "switch" or fields[0].choices:
        return ", ".join(_shared(every, name)) or None
    minimum = max((field.minimum for field in fields if field.minimum is not None), default=None)
    maximum = min((field.maximum for field in fields if field.maximum is not None), default=None)
    if minimum is not None and maximum is not None:
        return f"{minimum:.10g} to {maximum:.10g}" if minimum <= maximum else None
    return ""


def _shared(every: Sequence[Mapping[str, Field]], name: str) -> list[str]:
    """Of a closed set, what all of them permit."""
    fields = [one[name] for one in every]
    if fields[0].kind == "switch":
        return ["true", "false"]
    return [str(choice) for choice in fields[0].choices if all(choice in field.choices for field in fields)]


def _as_typed(engine: str, values: dict[str, Any]) -> dict[str, Any]:
    return values


def cells(
    engine: str,
    base: Mapping[str, Any],
    rows: Axis,
    columns: Axis | None,
    read: Callable[[str, dict[str, Any]], dict[str, Any]] = _as_typed,
) -> list[tuple[str, str, Params]]:
    """(label, engine, parameters) of every cell, row by row.

    base: the settings all cells have, prompt and seed among them. read: what the settings of a cell, as they were
    typed, are understood as by its engine. Raises BadParams, naming the cell, for the first
    one that cannot be drawn, and for more than MAX_CELLS; UnknownName for an engine that does not draw.
    """
    drawing_class(engine)
    if columns is not None and columns.name == rows.name:
        raise BadWish("Rows and columns are both {name}; choose two settings, or no columns.", name=rows.name)
    count = len(rows.values) * (len(columns.values) if columns else 1)
    if count > MAX_CELLS:
        raise BadWish(
            "This makes {count} pictures; at most {most} are allowed. Take some values away.",
            count=count,
            most=MAX_CELLS,
        )
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
            params = validate(its_engine, read(its_engine, values))
        except (BadParams, registry.UnknownName) as error:
            raise BadParams(f"{label}: {error}") from None
        made.append((label, its_engine, params))
    return made


def _styled(engine: str, values: Mapping[str, Any]) -> bool:
    try:
        return registry.checkpoint(values.get("checkpoint") or registry.first_checkpoint(engine, "")).styled
    except registry.UnknownName:
        return True  # the check says what is wrong with it


def _value(engine: str, name: str, typed: str) -> Any:
    """What was typed as the setting wants it; left as typed where it does not fit, so that the check explains it."""
    if name == "style":
        return None if typed.lower() in ANY else typed
    field = _fields(engine).get(name)
    if field is None:
        return typed
    if field.kind == "choices":
        return tuple(part.strip() for part in typed.split("+"))
    if field.kind == "choice":
        return next((choice for choice in field.choices if str(choice) == typed), typed)
    return typed  # whole numbers, numbers and switches are read out of text by the declaration
