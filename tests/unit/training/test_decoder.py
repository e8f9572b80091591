"""The recipe that sharpens a finished VQGAN's decoder."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from generator.models.lpips import LPIPS
from generator.models.vqgan import VQModel
from generator.training import dataset, decoder, patches, vqgan
from generator.training.run import Budget


def test_the_decoder_comes_nearer_to_what_the_eye_sees_with_its_codes_as_they_were_and_resumes_exactly(
    pictures: dataset.Pictures, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    lpips = LPIPS().eval().requires_grad_(False)
    for number in range(5):
        lpips.get_parameter(f"lin{number}.model.1.weight").abs_()
    first = vqgan.run(vqgan.Recipe(budget=Budget(steps=2), batch=2), pictures, coder, folder=tmp_path / "vqgan")

    def go(folder: str, steps: int, stop: int | None = None) -> VQModel:
        recipe = decoder.Recipe(budget=Budget(steps=steps, stop_after=stop), batch=2, warmup_steps=3)
        model = copy.deepcopy(first)
        return decoder.run(recipe, model, pictures, coder=coder, lpips=lpips, folder=tmp_path / folder)

    whole = go("whole", 8)
    go("parts", 8, stop=5)
    for one, other in zip(go("parts", 8).parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)
    wanted = dataset.composite(torch.from_numpy(pictures.rgba[:6]), torch.ones(6, 3))
    with torch.no_grad():
        assert torch.equal(first.encode(wanted), whole.encode(wanted))
        made = [model.decode(model.codes_to_z(coder.codes(wanted))) for model in (first, whole)]
        before, after = (lpips(one * 2 - 1, wanted * 2 - 1).mean() for one in made)
    assert after < before
