"""From the settings of one drawing to those of several that were asked for together, which are to differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator import registry
from generator.params.validation import drawing_class

# In this order, where no style was asked for: of those that show most things well, what differs most comes early.
SHEET_STYLES = ("noto", "3d", "blob", "twemoji", "silhouette", "fluent", "fx")


def on_sheet(engine: str, values: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What is set for picture `number` of a sheet, counted from 0, beside `values`: another draft in another pose, and
    another style where none was asked for. Nothing for what is drawn from a picture, or by models that know neither.

    Raises UnknownName for the engine.
    """
    fields = drawing_class(engine).model_fields
    name = values.get("checkpoint") or fields["checkpoint"].default
    spec = registry.CHECKPOINTS.get(name) if isinstance(name, str) else None
    if "variant" not in fields or spec is None or not spec.styled or values.get("init_image"):
        return {}
    if "init" in fields and (values.get("init") or spec.defaults.get("init")) != "prior":
        return {}
    made: dict[str, Any] = {"variant": number}
    if values.get("style") is None:
        made["style"] = SHEET_STYLES[number % len(SHEET_STYLES)]
    return made
