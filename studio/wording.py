"""What people type, as the studio's engines are told it, with the host's word lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.wording import Sources, Understood, understand
from studio.context import Studio


def understood(
    studio: Studio, engine: str, values: Mapping[str, Any], repeats: Mapping[str, Any] | None = None
) -> Understood:
    """The settings of one picture as they were typed -> as `validate` takes them, and what is to be said before.

    repeats: settings of a finished picture; texts that are as it has them are understood already. Raises BadParams.
    """
    return understand(engine, values, Sources(studio.settings.wildcards_dir), repeats=repeats)
