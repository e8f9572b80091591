"""The embedded models in the numbers this processor likes best: same seed, same bytes, whoever else is drawn."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generator import registry
from generator.device import Host
from generator.engines import loading
from generator.images.convert import no_picture
from generator.params import validate
from tests.tiny_engines import last

SHORT: dict[str, dict[str, Any]] = {
    "vqgan-clip": {"steps": 2, "cutn": 3, "candidates": 1},
    "guided-diffusion": {"steps": 4, "cutn": 3, "candidates": 1},
    "latent-diffusion": {"steps": 3, "candidates": 1},
    "biggan-clip": {"steps": 2, "cutn": 3, "candidates": 1},
}


@pytest.mark.parametrize("name", registry.drawing_engines())
def test_an_embedded_model_draws_the_same_bytes_alone_in_a_batch_and_after_an_interruption(name: str) -> None:
    host = Host("cpu", Path("none"), no_picture)
    engine = loading.load(name, registry.ENGINES[name].checkpoints[0], (registry.TEXT_ENCODER.name,), host)
    settings: Callable[[int], Any] = lambda seed: validate(name, {"prompt": "a red heart", "seed": seed, **SHORT[name]})  # noqa: E731
    alone = last(engine, settings(1))
    first, other = engine.open(settings(1)), engine.open(settings(2))
    engine.advance([other])
    engine.advance([other, first])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed: Any = engine.resume(settings(1), torch.load(file, weights_only=True))
    beside: list[Any] = [first, resumed]
    while beside:
        for slot, step in zip(beside, engine.advance(beside), strict=True):
            if step.done:
                assert torch.equal(step.image, alone.image), "interrupted" if slot is resumed else "in a batch"
                assert step.score == alone.score
        beside = [slot for slot in beside if not slot.done]
