"""How a draft came to be is told by pictures of it: from a blur that is the same for all to the draft itself."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from generator.models.layout import load_layout
from generator.starts.forming import partial_sums
from tests import tiny_engines
from tests.tiny_engines import last


def test_a_draft_forms_out_of_the_mean_of_all_pictures_nearer_with_each_frame() -> None:
    layout = load_layout()
    style = torch.tensor([layout.style_index("noto")])
    texts = torch.randn(2, 1, layout.config["text_width"], generator=torch.Generator().manual_seed(0))
    one, other = (layout(torch.nn.functional.normalize(text, dim=1), style) for text in texts)
    frames = partial_sums(one, layout)
    assert torch.equal(frames[0], partial_sums(other, layout)[0])
    far = (frames - one).square().flatten(1).sum(1)
    assert len(far) > 6 and bool((far.diff() < 0).all()) and far[-1] < 0.2 * far[0]


BEGIN_WITH_A_DRAFT: list[tuple[Any, Any]] = [
    (tiny_engines.vqgan_clip, tiny_engines.vqgan_settings(init="prior", width=64, height=64, steps=2)),
    (tiny_engines.biggan_clip, tiny_engines.biggan_settings(init="text", steps=2)),
    (tiny_engines.latent_diffusion, tiny_engines.latent_settings(steps=2)),
]


@pytest.mark.parametrize(("make", "params"), BEGIN_WITH_A_DRAFT, ids=["vqgan-clip", "biggan-clip", "latent-diffusion"])
def test_the_last_step_shows_how_the_draft_came_to_be_also_after_an_interruption(make: Any, params: Any) -> None:
    engine = make()
    whole, slot = last(engine, params), engine.open(params)
    (first,) = engine.advance([slot])
    assert first.draft is None
    file = io.BytesIO()
    torch.save(slot.state_dict(), file)
    file.seek(0)
    resumed = engine.resume(params, torch.load(file, weights_only=True))
    while not resumed.done:
        (step,) = engine.advance([resumed])
    assert whole.draft is not None and whole.image is not None and whole.draft.shape[1:] == whole.image.shape
    assert len(whole.draft) > 3 and whole.draft.min() >= 0 and whole.draft.max() <= 1
    assert torch.equal(step.draft, whole.draft)


def test_what_begins_with_noise_has_no_draft() -> None:
    assert last(tiny_engines.vqgan_clip(), tiny_engines.vqgan_settings(steps=1)).draft is None
    assert last(tiny_engines.guided_diffusion(), tiny_engines.guided_settings(steps=1)).draft is None
