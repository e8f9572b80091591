"""What every engine that begins with drafts of the embedded models is told of the sheet a picture is on."""

from __future__ import annotations

from pydantic import BaseModel

from generator.params.base import RECORD, Setting


class Drafted(BaseModel):
    """Which of several pictures of one text it is; see generator.starts.variants."""

    variant: int = Setting(
        0,
        group=RECORD,
        ge=0,
        le=63,
        exclude_if=lambda variant: not variant,
        description="Mini models, from drafts: which picture of a sheet this is, its seed counted on from the first's. "
        "Above 0 its draft differs from those before it and is posed otherwise.",
    )
