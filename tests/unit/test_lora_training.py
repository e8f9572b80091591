"""LoRAs that are trained here: diffusers' own training step, exact resume, buckets, and files that other tools load."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch.nn import functional as F

from generator.checkpoints.lora_names import kohya_name
from generator.checkpoints.model_file import look_at
from generator.engines.base import generate
from generator.learning.lora import recipe
from generator.learning.lora.buckets import bucket_of, buckets, fitted
from generator.learning.lora.examples import captioned
from generator.learning.lora.run import LoraRun
from generator.learning.runs import Diverged
from generator.learning.stream.samples import DataProblem, Sample, Split, is_validation
from generator.params.train_lora import TrainLoraParams
from generator.tokens import encode
from tests.tiny_diffusers import SCHEDULER, beside_diffusers, save_stable_diffusion
from tests.unit.test_lora_drawing import engine_of, wanted
from tests.unit.test_stable_diffusion_agreement import TEXTS, pipeline_of

VELOCITY = SCHEDULER | {"prediction_type": "v_prediction"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with beside_diffusers():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("checkpoints")
    save_stable_diffusion(found / "diffusers" / "plain")
    save_stable_diffusion(found / "diffusers" / "xl", xl=True)
    save_stable_diffusion(found / "diffusers" / "velocity", scheduler=VELOCITY)
    return found


def picture(number: int, size: tuple[int, int] = (40, 40)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (40 * number % 256, 90, 200 - 20 * number % 200)).save(out, "PNG")
    return out.getvalue()


class Pictures:
    """A stream in memory, in one order."""

    def __init__(self, images: Sequence[bytes], share: float = 0.0) -> None:
        self.name, self.length, self.closed = "pictures", len(images), False
        samples = [Sample(f"{n}.png", f"picture {n}", image) for n, image in enumerate(images)]
        self.kept = [one for one in samples if is_validation(one.id, share)]
        self.trained = [one for one in samples if not is_validation(one.id, share)]

    def samples(self, split: Split, *, start: int = 0, seed: int = 0) -> Iterator[Sample]:
        if split == "validation":
            yield from self.kept[start:]
            return
        while True:
            yield self.trained[start % len(self.trained)]
            start += 1

    def close(self) -> None:
        self.closed = True


SIZES = [(40, 40), (64, 32), (30, 50), (40, 40), (50, 31), (33, 33), (64, 30), (40, 40), (32, 32)]


def some(share: float = 0.0) -> Pictures:
    return Pictures([picture(n, size) for n, size in enumerate(SIZES)], share)


def settings(**changed: Any) -> TrainLoraParams:
    small = {"data": "here", "name": "mine", "checkpoint": "diffusers/plain", "resolution": 32, "bucket_step": 8}
    fast = {
        "rank": 2,
        "alpha": 1.0,
        "batch_size": 3,
        "steps": 6,
        "sample_every": 3,
        "sample_steps": 2,
        "warmup_steps": 2,
    }
    return TrainLoraParams(
        **{
            **small,
            **fast,
            "seed": 5,
            "captions": ("a red heart",),
            "learning_rate": 0.01,
            "precision": "fp32",
            **changed,
        }
    )


def run_of(root: Path, stream: Pictures | None = None, **changed: Any) -> LoraRun:
    return LoraRun(settings(**changed), stream or some(), "cpu", root)


def finish(run: LoraRun) -> list[tuple[int, dict[str, float]]]:
    """Every loss there was, by its step."""
    found = []
    while not run.done:
        progress = run.advance(0)
        if progress.losses:
            found.append((progress.step, progress.losses))
    return found


def wake(run: LoraRun) -> None:
    """Terms that change something, as after a while; they begin at nothing."""
    generator = torch.Generator().manual_seed(1)
    for network in run.networks.values():
        for name, weight in recipe.terms_of(network).items():
            if ".lora_B." in name:
                weight.data = torch.randn(weight.shape, generator=generator) * 0.1


@pytest.mark.parametrize("gamma", [0.0, 5.0], ids=["plain", "min-SNR"])
@pytest.mark.parametrize("name", ["plain", "velocity", "xl"])
def test_loss_and_gradients_are_those_of_diffusers_own_training_step(root: Path, name: str, gamma: float) -> None:
    """As examples/text_to_image/train_text_to_image_lora.py and train_text_to_image_lora_sdxl.py compute them."""
    import diffusers
    from diffusers.training_utils import compute_snr
    from peft import LoraConfig

    run = run_of(root, checkpoint=f"diffusers/{name}", snr_gamma=gamma, trained="transformer", max_ratio=1.0)
    run._prepare()
    wake(run)
    batch = run._examples.read(3)
    generator = torch.Generator().manual_seed(7)
    drawn = [run._draw(example, generator, 0.0) for example in batch]
    loss = run._loss(batch, drawn).mean()
    loss.backward()

    folder, xl = root / "diffusers" / name, name == "xl"
    pipeline = pipeline_of(folder, "ddim", VELOCITY if name == "velocity" else SCHEDULER, xl)
    unet = pipeline.unet.train()
    unet.requires_grad_(False)
    layers = recipe.layers_of(diffusers.UNet2DConditionModel.from_pretrained(folder / "unet"), "transformer")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=1, target_modules=layers))
    ours, theirs = recipe.terms_of(run.models.unet), recipe.terms_of(unet)
    assert ours.keys() == theirs.keys() and len(ours) > 20
    for key, weight in theirs.items():
        weight.data.copy_(ours[key].data)
    noises = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config)
    times = torch.cat([one[0] for one in drawn])
    latents, noise = torch.cat([one[1] for one in drawn]), torch.cat([one[2] for one in drawn])
    captions = [example.caption for example in batch]
    extra: dict[str, Any] = {}
    with torch.no_grad():
        if xl:
            hidden, _, pooled, _ = pipeline.encode_prompt(captions, device="cpu", do_classifier_free_guidance=False)
            told = [list((40, 40, 0, 0, 32, 32)) for _ in batch]
            told[1:] = [list(one.latents.told) for one in batch[1:]]
            extra = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.tensor(told)}}
        else:
            hidden, _ = pipeline.encode_prompt(captions, "cpu", 1, False)
    x = noises.add_noise(latents, noise, times)
    answer = unet(x, times, hidden, return_dict=False, **extra)[0]
    velocity = name == "velocity"
    target = noises.get_velocity(latents, noise, times) if velocity else noise
    expected = F.mse_loss(answer.float(), target.float(), reduction="mean")
    if gamma:
        snr = compute_snr(noises, times)
        weights = torch.stack([snr, gamma * torch.ones_like(times)], dim=1).min(dim=1)[0]
        weights = weights / (snr + 1) if velocity else weights / snr
        each = F.mse_loss(answer.float(), target.float(), reduction="none")
        expected = (each.mean(dim=list(range(1, each.ndim))) * weights).mean()
    expected.backward()
    assert torch.allclose(loss, expected, rtol=1e-5)
    for key, weight in theirs.items():
        mine = ours[key].grad
        assert mine is not None and weight.grad is not None
        assert torch.allclose(mine, weight.grad, rtol=1e-3, atol=1e-6 + 1e-4 * float(weight.grad.abs().max())), key


def test_latents_are_what_the_vae_of_diffusers_makes_of_the_picture(root: Path) -> None:
    import diffusers

    run = run_of(root, max_ratio=1.0)
    run._prepare()
    (example,) = run._examples.read(1)
    vae = diffusers.AutoencoderKL.from_pretrained(root / "diffusers" / "plain" / "vae")
    shown = Image.open(io.BytesIO(picture(0))).resize((32, 32), Image.Resampling.LANCZOS)
    import numpy as np

    pixels = torch.from_numpy(np.array(shown)).permute(2, 0, 1)[None].float() / 127.5 - 1
    said = vae.encode(pixels).latent_dist
    assert torch.allclose(example.latents.mean, said.mean[0], atol=1e-5)
    assert torch.allclose(example.latents.std, said.std[0], atol=1e-5)
    assert example.latents.told == (40, 40, 0, 0, 32, 32)


@pytest.mark.parametrize("changed", [{}, {"train_text": True, "dropout": 0.2, "caption_dropout": 0.3, "mirror": True}])
def test_a_run_that_is_interrupted_has_the_losses_it_would_have_had(root: Path, changed: dict[str, Any]) -> None:
    whole = run_of(root, some(0.3), validation_share=0.3, **changed)
    expected = finish(whole)
    assert [step for step, found in expected if "train" in found] == [1, 2, 3, 4, 5, 6]
    assert [step for step, found in expected if "validation" in found] == [3, 6]
    run, found, advances = run_of(root, some(0.3), validation_share=0.3, **changed), [], 0
    while not run.done:
        progress, advances = run.advance(0), advances + 1
        found += [(progress.step, progress.losses)] if progress.losses else []
        if advances in (2, 5, 9, 14, 20, 27):  # between steps, in the middle of one, and of a look
            buffer = io.BytesIO()
            torch.save(run.state_dict(), buffer)
            buffer.seek(0)
            run = run_of(root, some(0.3), validation_share=0.3, **changed)
            run.load_state_dict(torch.load(buffer, weights_only=True))
    assert advances > 27 and found == expected


def test_smaller_micro_batches_change_no_step(root: Path) -> None:
    whole, parts = run_of(root, batch_size=4), run_of(root, batch_size=4)
    assert parts.smaller() and parts.smaller() and not parts.smaller()
    for (step, one), (same, other) in zip(finish(whole), finish(parts), strict=True):
        assert step == same and one.keys() == other.keys()
        assert all(one[name] == pytest.approx(other[name], rel=1e-4) for name in one)


def test_the_loss_goes_down_and_samples_come_at_every_interval(root: Path) -> None:
    run = run_of(
        root, steps=30, sample_every=15, learning_rate=0.02, captions=("a red heart", "fog"), rank=8, alpha=8.0
    )
    drawn, losses = [], []
    while not run.done:
        progress = run.advance(0.2)
        drawn += [] if progress.samples is None else [(progress.step, progress.samples)]
        losses += [progress.losses["train"]] if "train" in progress.losses else []
    assert [step for step, _ in drawn] == [15, 30]
    assert all(one.shape == (2, 3, 32, 32) and one.min() >= 0 and one.max() <= 1 for _, one in drawn)
    assert (drawn[0][1] - drawn[1][1]).abs().max() > 1e-3, "what is learnt is to be seen"
    run.close()
    assert isinstance(run._stream, Pictures) and run._stream.closed


@pytest.mark.parametrize("name", ["plain", "xl"])
def test_what_is_trained_draws_the_same_here_and_in_diffusers(root: Path, name: str) -> None:
    run = run_of(
        root, checkpoint=f"diffusers/{name}", steps=2, trained="all", name=f"mine-{name}", trigger="ohwx", licence="CC0"
    )
    finish(run)
    wake(run)
    (file,) = run.export(root / "lora")
    assert look_at(file).licence == "CC0", "another studio takes it as it is"
    assert file == root / "lora" / f"mine-{name}.safetensors"
    ours = list(generate(engine_of(root, name), wanted(name, lora=(f"mine-{name}:0.8",))))[-1].image
    pipeline = pipeline_of(root / "diffusers" / name, "ddim", SCHEDULER, name == "xl")
    pipeline.load_lora_weights(str(file), adapter_name="mine")
    pipeline.set_adapters(["mine"], [0.8])
    theirs = pipeline(
        **TEXTS, num_inference_steps=4, guidance_scale=wanted(name).cfg_scale, width=32, height=32, output_type="pt",
        latents=torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(3)),
    ).images[0]  # fmt: skip
    plain = list(generate(engine_of(root, name), wanted(name)))[-1].image
    assert ours is not None and plain is not None
    assert (ours - theirs).abs().max() < 1e-4 and (ours - plain).abs().max() > 1e-3
    with safe_open(file, framework="pt") as opened:
        told = opened.metadata()
    assert told["ss_network_module"] == "networks.lora" and told["ss_network_dim"] == "2"
    assert told["ss_base_model_version"] == ("sdxl_base_v1-0" if name == "xl" else "sd_v1")
    assert told["modelspec.trigger_phrase"] == "ohwx" and told["modelspec.license"] == "CC0" and told["ss_steps"] == "2"


def test_a_trained_text_encoder_is_in_the_file_and_changes_the_picture(root: Path) -> None:
    run = run_of(root, steps=2, train_text=True, name="told")
    before = copy.deepcopy(recipe.terms_of(run.networks["text_encoder"])) if run._prepared else None
    finish(run)
    assert before is None
    (file,) = run.export(root / "lora")
    with safe_open(file, framework="pt") as opened:
        names = set(opened.keys())
    layer = kohya_name("text_encoder", "encoder.layers.0.self_attn.q_proj", xl=False, layers_per_block=1)
    assert f"{layer}.lora_down.weight" in names
    ups = [weight for name, weight in recipe.terms_of(run.networks["text_encoder"]).items() if ".lora_B." in name]
    assert any(weight.abs().max() > 0 for weight in ups[:4]), "it has learnt"
    list(generate(engine_of(root, "plain"), wanted("plain", lora=("told",))))


def test_pictures_keep_their_shapes_in_buckets_of_about_as_many_pixels() -> None:
    sizes = buckets(512, 64, 2.0)
    assert (512, 512) in sizes and (384, 640) in sizes and (640, 384) in sizes
    assert all(w * h <= 512 * 512 and w % 64 == h % 64 == 0 and max(w, h) <= 2 * min(w, h) for w, h in sizes)
    assert bucket_of((1000, 1000), sizes) == (512, 512)
    wide = bucket_of((1920, 1080), sizes)
    assert wide[0] > wide[1] and abs(wide[0] / wide[1] - 16 / 9) < 0.15
    assert fitted((1000, 500), (64, 64)) == ((128, 64), (32, 0)), "what is too long is cropped in the middle"
    assert buckets(512, 64, 1.0) == ((512, 512),)


def test_captions_get_the_trigger_once_and_are_read_as_far_as_clip_reads() -> None:
    assert captioned("a  red\nheart", "ohwx") == "ohwx, a red heart"
    assert captioned("a heart in OHWX style", "ohwx") == "a heart in OHWX style"
    long = captioned("word " * 2000, "ohwx")
    assert len(encode(long)) <= 75 and long.startswith("ohwx, word word")
    assert len(encode(captioned("w" * 10_000, ""))) <= 75


def test_too_little_and_unreadable_data_are_said_in_a_sentence(root: Path) -> None:
    with pytest.raises(DataProblem, match="has 3 captioned pictures to train on; at least 5"):
        run_of(root, Pictures([picture(n) for n in range(3)])).advance(0)
    with pytest.raises(DataProblem, match="257 files one after the other are no pictures"):
        run_of(root, Pictures([b"no picture"] * 6)).advance(0)


def test_a_run_whose_loss_is_no_number_stops_as_it_was(root: Path) -> None:
    run = run_of(root)
    while run.step < 2:
        run.advance(0)
    state = copy.deepcopy(run.state_dict())
    next(iter(recipe.terms_of(run.models.unet).values())).data.fill_(float("nan"))
    with pytest.raises(Diverged, match="no longer finite at step 2"):
        for _ in range(9):
            run.advance(0)
    run.load_state_dict(state)
    finish(run)


def test_a_state_of_another_rank_is_refused(root: Path) -> None:
    state = run_of(root).state_dict()
    with pytest.raises(ValueError, match="of another size"):
        run_of(root, rank=3).load_state_dict(state)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"checkpoint": "mini-latent-diffusion"}, "choose one of stable-diffusion-1-5"),
        ({"checkpoint": "vqgan-f16/x"}, "choose one of stable-diffusion-1-5"),
        ({"resolution": 40, "bucket_step": 64}, "is no multiple of bucket_step"),
        ({"name": "../x"}, "cannot name a model"),
    ],
)
def test_settings_that_cannot_be_are_said(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**changed)
