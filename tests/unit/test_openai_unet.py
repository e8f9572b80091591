"""OpenAI's guided diffusion: the numbers of the original, the published files to the last key, two guided steps."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from generator import registry
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.memory import estimate_memory
from generator.device import Host
from generator.engines import loading
from generator.engines.guided_diffusion import GuidedDiffusion
from generator.images.convert import no_picture
from generator.models import openai_unet
from generator.models.openai_unet import ARCHITECTURES, Architecture, OpenAIUNet
from generator.params import BadParams, GuidedDiffusionParams, validate
from generator.registry import PUBLISHED
from tests.real_formats import load_named, random_openai_unet
from tests.small_diffusion import SmallClip, TargetGuided, disco

SMALL = Architecture((0.5, 1, 1), (2, 4), channels=64, head_channels=16)
# What OpenAI's own UNetModel makes of the same weights: python scripts/compare_openai_unet.py writes it.
ORIGINAL = [0.37372, -0.10998, 0.18791, -0.0231, 0.37556, -0.09986]
ORIGINAL += [0.58954, 0.20012, -0.03343, 0.02419, 0.15483, -0.12184]
# And of a whole run, guided as Disco Diffusion guides; in the hundreds, since random weights take no noise off.
ORIGINAL_RUN = [53.5173, -136.2968, -180.777, 147.7211, 70.2978, -99.0581]
ORIGINAL_RUN += [51.7232, 152.4242, -108.5128, 2.8146, 169.1909, -291.52]
NAME = "guided-diffusion-512"


@pytest.fixture(scope="module")
def unet() -> OpenAIUNet:
    torch.set_num_threads(1)
    return random_openai_unet(SMALL)


@pytest.fixture
def folder(tmp_path: Path, unet: OpenAIUNet, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small model in the published file, and a table that knows its hash and shapes."""
    publish(tmp_path, dict(unet.state_dict()), monkeypatch)
    return tmp_path


def publish(folder: Path, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    row = PUBLISHED[NAME]
    path = folder / row.files[0].name
    torch.save(weights, path)
    file = dataclasses.replace(row.files[0], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    shapes = {"input_blocks.0.0.weight": (32, 3, 3, 3)}
    monkeypatch.setitem(PUBLISHED, NAME, dataclasses.replace(row, files=(file,), shapes=shapes))
    monkeypatch.setitem(openai_unet.ARCHITECTURES, NAME, SMALL)


@torch.no_grad()
def made_by(unet: OpenAIUNet) -> list[float]:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    values: list[float] = unet(x, torch.tensor([999, 17]))[:, :, 5, 9].flatten().tolist()
    return values


def test_it_computes_what_the_original_computes(unet: OpenAIUNet) -> None:
    assert made_by(unet) == pytest.approx(ORIGINAL, abs=1e-4)


def test_a_guided_run_ends_where_the_original_sampler_ends(unet: OpenAIUNet) -> None:
    picture = TargetGuided.run(unet)
    assert picture[0, :, 3::4, 9].flatten().tolist() == pytest.approx(ORIGINAL_RUN, abs=0.03)  # a ten-thousandth


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_real_models_have_the_published_layout(name: str) -> None:
    with torch.device("meta"):
        model = OpenAIUNet(ARCHITECTURES[name])
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    published = {"guided-diffusion-256": (566, 552.8), "guided-diffusion-512": (644, 558.0)}
    assert (len(shapes), round(sum(p.numel() for p in model.parameters()) / 1e6, 1)) == published[name]
    assert all(shapes[key] == shape for key, shape in PUBLISHED[name].shapes.items())
    assert registry.CHECKPOINTS[name].factor % model.factor == 0
    assert registry.CHECKPOINTS[name].weight_bytes >= sum(p.numel() for p in model.parameters()) * 4
    assert float(model.alphas_cumprod[999]) == pytest.approx(4.036e-5, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_published_file_loads_to_the_last_key(
    dtype: torch.dtype, tmp_path: Path, unet: OpenAIUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, {key: value.to(dtype) for key, value in unet.state_dict().items()}, monkeypatch)
    loaded = load_named(NAME, tmp_path)
    assert isinstance(loaded, OpenAIUNet) and all(p.dtype == torch.float32 for p in loaded.parameters())
    assert made_by(loaded) == pytest.approx(ORIGINAL, abs=1e-4 if dtype == torch.float32 else 0.02)


def test_a_file_with_a_key_too_few_or_too_many_is_refused(
    tmp_path: Path, unet: OpenAIUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = dict(unet.state_dict())
    publish(tmp_path, {**weights, "one_too.many": torch.zeros(2, 2)}, monkeypatch)
    with pytest.raises(CheckpointDamaged, match=r"1 tensors do not belong to the model, the first is one_too.many"):
        load_named(NAME, tmp_path)
    publish(tmp_path, {**weights, "label_emb.weight": torch.zeros(2, 2)}, monkeypatch)
    with pytest.raises(CheckpointDamaged, match=r"with ImageNet's classes, where the one without classes is needed"):
        load_named(NAME, tmp_path)
    del weights["out.2.bias"]
    publish(tmp_path, weights, monkeypatch)
    with pytest.raises(CheckpointDamaged, match=f"out.2.bias. Get it again with: .*download {NAME}"):
        load_named(NAME, tmp_path)


def test_a_missing_checkpoint_says_the_command_that_gets_it_and_the_size(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match=r"\(2211 MB\) with: .*checkpoints download guided-diffusion-256"):
        load_named("guided-diffusion-256", tmp_path)


def test_what_is_missing_is_got_by_one_command(tmp_path: Path) -> None:
    wanted = r"guided-diffusion-256 and RN50 are not .*\(2467 MB\) with: .*download guided-diffusion-256 RN50$"
    with pytest.raises(CheckpointMissing, match=wanted):
        loading.load("guided-diffusion", "guided-diffusion-256", ("RN50",), Host("cpu", tmp_path, no_picture))


def test_two_guided_steps_with_the_settings_of_disco_diffusion(folder: Path) -> None:
    engine = GuidedDiffusion(load_named(NAME, folder), [SmallClip()], precision=torch.float32)
    values = {"prompt": "a castle", "checkpoint": NAME, "width": 64, "height": 64, "cutn_batches": 1}
    params = validate("guided-diffusion", values)
    assert isinstance(params, GuidedDiffusionParams)
    slot = engine.open(params)
    for index in range(2):
        before = slot.x.clone()
        (step,) = engine.advance([slot])
        assert step.error is None and step.index == index and -1 <= step.score <= 1
        assert not torch.equal(slot.x, before)


def test_computing_blocks_again_changes_nothing_but_the_memory(unet: OpenAIUNet) -> None:
    def x_after(recompute: bool) -> torch.Tensor:
        engine = GuidedDiffusion(unet, [SmallClip()], precision=torch.float32)
        slot = engine.open(disco(cutn_batches=1, checkpoint_activations=recompute))
        engine.advance([slot])
        return slot.x

    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = x_after(False)
        torch.manual_seed(0)
        assert torch.equal(kept, x_after(True))


def test_sides_are_floored_to_64_px_and_smaller_ones_are_refused() -> None:
    params = validate("guided-diffusion", {"prompt": "a castle", "checkpoint": NAME, "width": 700, "height": 512})
    assert params.actual_size == (640, 512)
    with pytest.raises(BadParams, match="at least 64 px"):
        validate("guided-diffusion", {"prompt": "a castle", "checkpoint": NAME, "width": 63})
    with pytest.raises(ValueError, match="30 x 16 px must be multiples of 4"):
        random_openai_unet(SMALL)(torch.zeros(1, 3, 16, 30), torch.tensor([1]))


def test_what_the_real_checkpoints_start_from_is_what_disco_diffusion_starts_from() -> None:
    params = validate("guided-diffusion", {"prompt": "a castle", "checkpoint": NAME})
    assert params.clip == ("RN50",) and params.steps == 250 and params.total_steps == 250
    assert params.actual_size == (512, 512) and params.cutouts_per_step == 16
    needed = estimate_memory(params)
    assert 4e9 < needed < 12e9
    assert estimate_memory(params.model_copy(update={"checkpoint_activations": False})) > needed * 1.5
