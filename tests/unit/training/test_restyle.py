"""The recipe that learns to redraw in another style."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from generator.models.layout import Layout
from generator.models.restyle import Restyler
from generator.training import dataset, patches, restyle
from generator.training.run import Budget

TEXT_WIDTH = 16


def encode(texts: list[str]) -> torch.Tensor:
    rows = [torch.randn(TEXT_WIDTH, generator=torch.Generator().manual_seed(sum(map(ord, text)))) for text in texts]
    return torch.nn.functional.normalize(torch.stack(rows), dim=1)


@pytest.fixture(scope="module")
def layout(coder: patches.PatchCoder) -> Layout:
    """Whose drafts are all the same grey blur."""
    config = {"z_channels": coder.codebook.shape[1], "grid": 16, "text_width": TEXT_WIDTH, "width": 8}
    return Layout({**config, "styles": list(restyle.STYLE_WEIGHTS), "content": 4, "components": 4})


@pytest.fixture(scope="module")
def shown(pictures: dataset.Pictures, coder: patches.PatchCoder) -> restyle.Shown:
    """Silhouettes are black; the other sets draw alike."""
    rgba = pictures.rgba.copy()
    rgba[pictures.style == pictures.styles.index("silhouette"), :, :, :3] = 0
    return restyle.shown(replace(pictures, rgba=rgba), pictures.train, pictures.train, coder, encode)


def test_what_is_redrawn_comes_nearer_to_what_it_should_become_and_resumes_exactly(
    shown: restyle.Shown, layout: Layout, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    def go(folder: str, steps: int, stop: int | None = None) -> Restyler:
        small = {"width": 16, "deep": 16, "blocks": 1, "cond_width": 8}
        recipe = restyle.Recipe(budget=Budget(steps=steps, stop_after=stop), batch=4, rate=4e-3, **small)
        return restyle.run(recipe, shown, layout, coder=coder, folder=tmp_path / folder)

    whole = go("whole", 60)
    go("parts", 60, stop=11)
    for one, other in zip(go("parts", 60).parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)
    pairs = restyle.draw_pairs(shown, 256, layout, coder.codebook, torch.Generator().manual_seed(1))
    source, before, after, wanted = pairs
    with torch.no_grad():
        made = whole(source, before, after)
    assert restyle.loose_gap(made, wanted) < 0.99 * restyle.loose_gap(source, wanted)


def test_pairs_show_one_thing_as_two_sets_drew_it(
    shown: restyle.Shown, layout: Layout, coder: patches.PatchCoder
) -> None:
    draw = torch.Generator().manual_seed(1)
    _, before, after, wanted = restyle.draw_pairs(shown, 64, layout, coder.codebook, draw)
    assert 0.02 < float((before == after).float().mean()) < 0.4 and wanted.shape[1:] == (
        coder.codebook.shape[1],
        16,
        16,
    )
    assert len(before.unique()) > 3 and len(after.unique()) > 3
