"""How scenes are scored."""

from __future__ import annotations

import torch

from generator.training.scene_scores import bound, related


def test_the_judge_tells_places_and_colours() -> None:
    assert related("on", (0.5, 0.2), (0.5, 0.8)) and not related("on", (0.5, 0.8), (0.5, 0.2))
    assert related("under", (0.5, 0.8), (0.5, 0.2)) and related("next to", (0.2, 0.5), (0.8, 0.5))
    picture = torch.ones(3, 64, 64)
    picture[:, 20:44, 4:28] = torch.tensor([0.2, 0.4, 0.9])[:, None, None]
    picture[:, 20:44, 36:60] = torch.tensor([0.9, 0.2, 0.2])[:, None, None]
    assert bound(picture, "blue", (0.25, 0.5), [(0.75, 0.5)]) and not bound(picture, "red", (0.25, 0.5), [(0.75, 0.5)])
