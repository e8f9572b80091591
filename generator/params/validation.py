"""Plain values into the frozen parameters of an engine, or one readable sentence per problem."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import ValidationError

from generator import registry
from generator.params.base import BadParams, Params
from generator.params.job import JobParams


def params_class(engine: str) -> type[JobParams]:
    """The frozen parameter class of an engine. Does not import torch."""
    found: type[JobParams] = registry.imported(registry.lookup("engine", registry.ENGINES, engine).params)
    return found


def drawing_class(engine: str) -> type[Params]:
    """The same, of an engine that draws. Raises UnknownName with the names of those."""
    drawing = {name: spec for name, spec in registry.ENGINES.items() if spec.makes == "drawing"}
    found: type[Params] = registry.imported(registry.lookup("engine", drawing, engine).params)
    return found


def validate(engine: str, values: dict[str, Any]) -> Params:
    """Parameters of an engine that draws, from plain values.

    Raises registry.UnknownName for the engine, BadParams naming each setting, its value and what is allowed.
    """
    drawing_class(engine)
    params = validate_job(engine, values)
    assert isinstance(params, Params)
    return params


def validate_job(engine: str, values: dict[str, Any]) -> JobParams:
    """Parameters of any engine, those that upscale, rank or fetch included. Raises as `validate`."""
    cls = params_class(engine)
    name = values.get("checkpoint")
    # What a run starts from is drawn with by another engine; its own declaration says what it may be.
    trains = registry.ENGINES[engine].makes == "model"
    if isinstance(name, str) and not trains and not registry.offers(engine, name):
        raise BadParams(str(registry.UnknownName("checkpoint", name, registry.choices(engine), registry.naming(name))))
    return validated(cls, values)


def problems(engine: str, values: dict[str, Any]) -> dict[str, str]:
    """What is wrong with each setting first, as a sentence by its name; under "" what is wrong with none in particular.
    {}: they are good. Raises registry.UnknownName for the engine."""
    cls = params_class(engine)
    found: dict[str, str] = {}
    try:
        cls(**values)
    except ValidationError as error:
        for one in error.errors():
            sentence = _sentence(one, cls)
            # What is wrong with several together is said beginning with the name of one.
            name = str(one["loc"][0]) if one["loc"] else re.split(r"\W", sentence, maxsplit=1)[0]
            found.setdefault(name if name in cls.model_fields else "", sentence)
    return found


P = TypeVar("P", bound=JobParams)


def validated(cls: type[P], values: dict[str, Any]) -> P:
    """Parameters of a class. Raises BadParams naming each setting, its value and what is allowed."""
    try:
        return cls(**values)
    except ValidationError as error:
        raise BadParams(" ".join(_sentence(e, cls) for e in error.errors())) from None


def _sentence(error: Any, cls: type[JobParams]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        able = [one for one in registry.drawing_engines() if name in params_class(one).model_fields]
        elsewhere = f" It is one of {', '.join(able)}." if able and issubclass(cls, Params) else ""
        return f"Unknown setting {name!r}.{elsewhere} Settings: {', '.join(cls.model_fields)}."
    if error["type"] == "missing":
        return f"The {name} is missing."
    if error["type"] == "value_error":
        return f"The {name} {message}" if name else message
    value = error.get("input")
    return f"{name or 'The name of a setting'} = {str(value)[:80]!r}: {message[0].lower()}{message[1:]}."
