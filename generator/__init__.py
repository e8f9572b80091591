"""Turns a prompt into a picture. See params (what can be set) and registry (what there is).

`from generator import generate` draws in this process, see `generator.drawing`; torch is loaded with the first picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generator.drawing import Machine, Picture, Progress, again, generate, rank, watch
else:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from generator import drawing

        return getattr(drawing, name)


__all__ = ["Machine", "Picture", "Progress", "again", "generate", "rank", "watch"]
