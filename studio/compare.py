"""A comparison: one prompt over the values of one or two settings, every cell checked before anything is queued."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from characters.brief import Term
from characters.seen import as_seen
from db.artefacts import sources
from db.sheets.submissions import NewSheet, Submission
from generator import registry
from generator.params import BadParams, Params, drawing_class, validate
from generator.wording import Sources, outcomes
from generator.wording import choices as choices_in
from studio.context import Studio, Submitter
from studio.errors import BadWish
from studio.given import check_own
from studio.limits import check_typed, first_choice
from studio.settings_form import OWN_WIDGET, Field
from studio.settings_form import fields as fields_of
from studio.submit import new_job, starting, submit_sheet
from studio.wording import understood

MAX_CELLS = 48
ENGINE, PROMPT = "engine", "prompt"
ANY = ("any", "none")  # as a style: none in particular
_SEEDS = 2**32
# What stands between values; prompts, the second, have commas of their own.
_SIGNS = ((",", Term("commas")), (";", Term("semicolons")))

Cells = list[tuple[str, str, Params]]  # label, engine and parameters of each, row by row


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


@dataclass(frozen=True)
class Comparison:
    """What is compared, not yet checked.

    engine: None for the one a new page shows first, with its checkpoint where engines are not what is compared.
    base: as `cells` takes it; one random seed for all where none is given or compared. own_seeds: as for `cells`.
    """

    engine: str | None
    base: Mapping[str, Any]
    rows: Axis
    columns: Axis | None = None
    own_seeds: bool = False

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One or two."""
        return (self.rows,) if self.columns is None else (self.rows, self.columns)


def compare(
    studio: Studio,
    submitter: Submitter,
    engine: str | None,
    base: Mapping[str, Any],
    rows: Axis,
    columns: Axis | None,
    *,
    own_seeds: bool = False,
) -> Submission:
    """Queue every cell as one sheet, or none. The rest as for a Comparison.

    Raises as `cells` and `sources.check`, and TooManyQueued.
    """
    wanted = Comparison(engine, base, rows, columns, own_seeds)
    made = planned(studio, wanted)
    named = {source for _, _, params in made for source in params.sources}
    check_own(studio, submitter, named)
    sources.check(studio.db, studio.store, named)
    new = [(label, new_job(studio, its_engine, params)) for label, its_engine, params in made]
    layout = {"rows": rows.layout(), "columns": columns.layout() if columns else None}
    sheet = NewSheet(kind="compare", prompt=_title(wanted, made), wanted=new, layout=layout)
    return submit_sheet(studio, submitter, sheet)[0]


def planned(studio: Studio, wanted: Comparison) -> Cells:
    """Its cells, checked; nothing is queued. Raises as `cells`, and WordRefused."""
    engine, base = wanted.engine, wanted.base
    compared = [one.name for one in wanted.axes]
    if engine is None:
        engine, checkpoint = first_choice(studio)
        if ENGINE not in compared:
            base = {"checkpoint": registry.first_checkpoint(engine, checkpoint), **base}
    if "seed" not in compared and base.get("seed") is None:
        base = {**base, "seed": secrets.randbelow(_SEEDS)}
    check_typed(studio, [*base.values(), *(value for one in wanted.axes for value in one.typed)])

    def read(its_engine: str, values: dict[str, Any]) -> dict[str, Any]:
        return understood(studio, its_engine, values).values

    return cells(engine, starting(base), wanted.rows, wanted.columns, read, own_seeds=wanted.own_seeds)


def _title(wanted: Comparison, made: Cells) -> str:
    """What a sheet is called: its prompts, or the prompt with its choices where they are what is compared."""
    prompts = next((one.values for one in wanted.axes if one.name == PROMPT), None)
    if prompts is None and any(is_choice(one.name) for one in wanted.axes):
        prompts = (" ".join(as_seen(str(wanted.base.get(PROMPT, ""))).split()),)
    return "; ".join(prompts or (made[0][2].prompt,))


def choices_of(studio: Studio, prompt: str) -> dict[str, list[str]]:
    """The choices of a prompt that can be compared, `{red|blue}` and `__animal__`, each with what it may become.

    At most one more than there can be pictures. Raises BadParams for a word list that is not there.
    """
    found = choices_in(prompt, Sources(studio.settings.wildcards_dir), MAX_CELLS + 1)
    return {name: list(dict.fromkeys(one.strip() for one in values if one.strip())) for name, values in found.items()}


def spelt_out(studio: Studio, axis: Axis) -> Axis:
    """An axis of prompts with all that each may become; others as they are. Raises BadParams as `choices_of`."""
    if axis.name != PROMPT:
        return axis
    sources_ = Sources(studio.settings.wildcards_dir)
    made = [text for value in axis.typed for text in outcomes(value, sources_, MAX_CELLS + 1)]
    return Axis(PROMPT, tuple(made))


def is_choice(name: str) -> bool:
    """Whether this axis is a choice of the prompt, called as it is written there."""
    return name.startswith(("{", "__"))


def axis(name: str, typed: str) -> Axis:
    """The values typed one a line; else between commas, prompts between semicolons. Raises BadParams for none, an empty
    or a repeated one."""
    if not as_seen(typed).strip():
        raise BadWish(
            "Give the values of {name}, one a line or with {what} between them, for example: {example}",
            name=name,
            what=_SIGNS[name == PROMPT][1],
            example=example(name),
        )
    lines = [line for line in typed.splitlines() if as_seen(line).strip()]
    if name == PROMPT and len(lines) > 1:
        return Axis(name, tuple(lines))
    return Axis(name, tuple(value for line in lines for value in _between(name, line)))


def _between(name: str, line: str) -> list[str]:
    between, what = _SIGNS[name == PROMPT]
    values = line.split(between)
    if not all(as_seen(value).strip() for value in values):
        raise BadWish(
            "The values of {name} have an empty place between two {what}: {typed}",
            name=name,
            what=what,
            typed=line.strip(),
        )
    return values


def example(name: str) -> str:
    """Values somebody might type for a setting."""
    if is_choice(name):
        return ", ".join(name.strip("{}_").split("|")[:2])
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
    *,
    own_seeds: bool = False,
) -> Cells:
    """(label, engine, parameters) of every cell, row by row.

    base: the settings all cells have, prompt and seed among them. read: what the settings of a cell, as they were
    typed, are understood as by its engine. own_seeds: each cell has the seed after that of the cell before it, so that
    no two start from the same drafts, noise or codes; what the prompt leaves to chance is the same in all. Raises
    BadParams, naming the cell, for the first one that cannot be drawn, and for more than MAX_CELLS; UnknownName for an
    engine that does not draw.
    """
    drawing_class(engine)
    count = counted(rows, columns)
    axes = [rows] if columns is None else [rows, columns]
    own_seeds = own_seeds and "seed" not in [one.name for one in axes]
    made: Cells = []
    for chosen in product(*(one.values for one in axes)):
        named = dict(zip((one.name for one in axes), chosen, strict=True))
        label = " · ".join(f"{name} {value}" for name, value in named.items())
        its_engine = named.pop(ENGINE, engine)
        chosen_words = {name: named.pop(name) for name in list(named) if is_choice(name)}
        try:
            values = {**base, **{name: _value(its_engine, name, typed) for name, typed in named.items()}}
            if chosen_words:
                values[PROMPT] = _worded(str(values.get(PROMPT, "")), chosen_words)
            if "style" not in named and not _styled(its_engine, values):
                values.pop("style", None)
            params = validate(its_engine, read(its_engine, values))
        except (BadParams, registry.UnknownName) as error:
            raise BadParams(f"{label}: {error}") from None
        if own_seeds and count > 1:
            params = params.model_copy(update={"seed": (params.seed + len(made)) % _SEEDS})
        made.append((label, its_engine, params))
    return made


def counted(rows: Axis, columns: Axis | None) -> int:
    """How many pictures these make. Raises BadWish for more than MAX_CELLS, and where both are the same setting."""
    if columns is not None and columns.name == rows.name:
        raise BadWish("Rows and columns are both {name}; choose two settings, or no columns.", name=rows.name)
    count = len(rows.values) * (len(columns.values) if columns else 1)
    if count > MAX_CELLS:
        raise BadWish(
            "This makes {count} pictures; at most {most} are allowed. Take some values away.",
            count=count,
            most=MAX_CELLS,
        )
    return count


def _worded(prompt: str, chosen: Mapping[str, str]) -> str:
    """The prompt with these of its choices made, wherever they stand in it."""
    for name, value in chosen.items():
        if name not in prompt:
            raise BadWish("The prompt has no choice {name}.", name=name)
        prompt = prompt.replace(name, value)
    return prompt


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
