"""How scenes are scored."""

from __future__ import annotations

import torch

from generator.training.scene_scores import Seen, bound, figures, related


def test_the_judge_tells_places_and_colours() -> None:
    assert related("on", (0.5, 0.2), (0.5, 0.8)) and not related("on", (0.5, 0.8), (0.5, 0.2))
    assert related("under", (0.5, 0.8), (0.5, 0.2)) and related("next to", (0.2, 0.5), (0.8, 0.5))
    picture = torch.ones(3, 64, 64)
    picture[:, 20:44, 4:28] = torch.tensor([0.2, 0.4, 0.9])[:, None, None]
    picture[:, 20:44, 36:60] = torch.tensor([0.9, 0.2, 0.2])[:, None, None]
    assert bound(picture, "blue", (0.25, 0.5), [(0.75, 0.5)]) and not bound(picture, "red", (0.25, 0.5), [(0.75, 0.5)])


def test_figures_are_shares_and_colours_count_where_they_were_asked_for() -> None:
    seen = [Seen((0, 4), ((0, 0), (1, 1)), True, None), Seen((0, 5), ((0, 0), (1, 1)), False, False)]
    assert figures(seen) == {"each": 0.75, "both": 0.5, "relation": 0.5, "colours": 0.0, "pictures": 2}
    assert "colours" not in figures(seen[:1])
