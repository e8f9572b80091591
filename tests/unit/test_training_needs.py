"""What a run needs of disk and memory is told from its settings, and is what it then takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from captioned_pictures import write_folder

from generator.checkpoints import training_needs
from generator.checkpoints.training_needs import needs
from generator.learning.caption_diffusion.recipe import architecture_of
from generator.learning.caption_diffusion.run import CaptionRun
from generator.learning.lora.run import LoraRun
from generator.learning.stream.opening import open_stream
from generator.models.caption_unet import build_unet
from generator.params.train import TrainParams
from generator.params.train_lora import TrainLoraParams
from tests.tiny_diffusers import REAL_UNET, save_stable_diffusion

DATA: dict[str, Any] = {"data": "here", "name": "mine", "seed": 1}


def bytes_of(state: Any) -> int:
    if isinstance(state, dict):
        return sum(map(bytes_of, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(bytes_of, state))
    return state.nbytes if isinstance(state, torch.Tensor) else 0


def close(told: int, true: int) -> bool:
    return abs(told - true) <= 0.15 * true


def test_what_tiny_needs_is_what_its_states_and_its_model_take(tmp_path: Path) -> None:
    params = TrainParams(**DATA, preset="tiny", batch_size=2, vocabulary=600)
    run = CaptionRun(params, open_stream(write_folder(tmp_path / "data"), validation_share=0.1), "cpu", tmp_path)
    run.advance(0)
    state, (model,) = bytes_of(run.state_dict()), run.export(tmp_path / "made")
    run.close()
    told = needs(params)
    assert close(told.state, state) and close(told.model, model.stat().st_size)
    assert told.states == 2 * told.state and told.disk > told.states + told.model


@pytest.mark.parametrize("preset", ["tiny", "small", "eir", "large"])
def test_every_preset_is_counted_to_the_last_weight(preset: Any) -> None:
    params = TrainParams(**DATA, preset=preset)
    with torch.device("meta"):
        unet = build_unet(architecture_of(params, (), 768))
    text = 0 if params.base else training_needs.text_weights(params)
    assert needs(params).model == 4 * (sum(weight.numel() for weight in unet.parameters()) + text)


def test_memory_grows_with_the_pictures_of_a_pass_and_not_with_those_of_a_step() -> None:
    def memory(**changed: Any) -> int:
        return needs(TrainParams(**DATA, preset="small", **changed)).memory

    assert memory() == memory(batch_size=64, micro_batch=32) > memory(micro_batch=1)
    of_one, of_two, of_four = (memory(micro_batch=count) for count in (1, 2, 4))
    assert of_four - of_two == pytest.approx(2 * (of_two - of_one), abs=4) and of_two > of_one
    assert memory(size=128, attention_up_to=16) > 2 * memory() and memory(precision="bf16") < memory()


def test_what_a_lora_needs_is_what_its_states_and_its_file_take(tmp_path: Path) -> None:
    save_stable_diffusion(tmp_path / "diffusers" / "tiny")
    params = TrainLoraParams(
        **DATA, checkpoint="diffusers/tiny", rank=128, resolution=32, bucket_step=8, trained="all", train_text=True
    )
    run = LoraRun(params, open_stream(write_folder(tmp_path / "data"), validation_share=0), "cpu", tmp_path)
    run.advance(0)
    while run.step < 1:
        run.advance(0)
    state, (model,) = bytes_of(run.state_dict()), run.export(tmp_path / "made")
    run.close()
    told = needs(params, tmp_path)
    assert close(told.state, state) and close(told.model, model.stat().st_size)


@pytest.mark.parametrize("trained", ["attention", "transformer", "all"])
def test_a_lora_of_stable_diffusion_is_told_before_that_is_downloaded(trained: Any) -> None:
    with torch.device("meta"):
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        unet = UNet2DConditionModel.from_config(REAL_UNET)
    from generator.learning.lora.recipe import layers_of

    shapes = [unet.get_submodule(name).weight.shape for name in layers_of(unet, trained)]
    rank = 4
    numbers = sum(rank * (shape[0] + shape[1:].numel()) for shape in shapes)
    params = TrainLoraParams(**DATA, trained=trained, rank=rank)
    assert needs(params).model == 4 * numbers and needs(params).state == 12 * numbers
    assert needs(params).memory > 2e9, "the model itself is in memory"
    assert needs(params, pictures=20).memory < needs(params, pictures=2000).memory < needs(params).memory
