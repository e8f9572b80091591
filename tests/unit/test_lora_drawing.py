"""Pictures drawn with LoRAs: those of diffusers, alone and beside others in one batch, and files that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from generator import params as parameters
from generator.__main__ import parser_for
from generator.checkpoints import lora_names, original_names
from generator.checkpoints.command_line import listing
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.fingerprint import own_weights
from generator.checkpoints.model_file import check_weights, look_at
from generator.engines.base import generate
from generator.engines.stable_diffusion import StableDiffusion
from generator.output.metadata import encode_png, read_metadata
from generator.params import BadParams, LatentDiffusionParams
from tests import tiny_loras
from tests.real_formats import load_named
from tests.small_diffusion import SmallClip
from tests.tiny_diffusers import SCHEDULER, beside_diffusers, save_stable_diffusion
from tests.tiny_engines import seeded
from tests.unit.test_stable_diffusion_agreement import TEXTS, pipeline_of

PICTURE: dict[str, Any] = {"clip": ("mini",), "seed": 3, "steps": 4, "width": 32, "height": 32, "sampler": "ddim"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with beside_diffusers():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("checkpoints")
    save_stable_diffusion(found / "diffusers" / "plain")
    save_stable_diffusion(found / "diffusers" / "xl", xl=True)
    for name in ("plain", "xl"):
        models, xl = load_named(f"diffusers/{name}", found), name == "xl"
        terms = tiny_loras.random_terms(models)
        tiny_loras.save_kohya(found / "lora" / f"{name}-kohya.safetensors", terms, xl=xl)
        of_unet = {key: term for key, term in terms.items() if key[0] == "unet"}
        tiny_loras.save_kohya(found / "lora" / f"{name}-unet.safetensors", of_unet, xl=xl)
        tiny_loras.save_peft(found / "lora" / f"{name}-peft.safetensors", terms)
        convolutions = tiny_loras.random_terms(models, seed=1, ends=tiny_loras.CONVOLUTIONS)
        tiny_loras.save_kohya(found / "lora" / f"{name}-conv.safetensors", convolutions, xl=xl)
    return found


def engine_of(root: Path, name: str) -> StableDiffusion:
    clip = seeded(lambda: SmallClip(32, 16, "mini"))
    models = load_named(f"diffusers/{name}", root)
    return StableDiffusion(models, [clip], precision=torch.float32, checkpoints_dir=root)


def wanted(name: str, **changed: Any) -> LatentDiffusionParams:
    return LatentDiffusionParams(**{**TEXTS, **PICTURE, "checkpoint": f"diffusers/{name}", **changed})


def drawn(engine: StableDiffusion, params: LatentDiffusionParams) -> torch.Tensor:
    image = list(generate(engine, params))[-1].image
    assert image is not None
    return image


@pytest.mark.parametrize("xl", [False, True], ids=["1", "XL"])
@pytest.mark.parametrize("loras", [["unet:0.8"], ["peft:0.7"], ["conv:1.5"], ["unet:0.8", "conv:-0.5"]], ids=str)
def test_a_picture_with_loras_is_that_of_diffusers_with_the_same_files(root: Path, xl: bool, loras: list[str]) -> None:
    name = "xl" if xl else "plain"
    chosen = tuple(f"{name}-{one}" for one in loras)
    ours = drawn(engine_of(root, name), wanted(name, lora=chosen))
    pipeline = pipeline_of(root / "diffusers" / name, "ddim", SCHEDULER, xl)
    weights = dict((one.partition(":")[0], float(one.partition(":")[2])) for one in loras)
    for one in weights:
        pipeline.load_lora_weights(str(root / "lora"), weight_name=f"{name}-{one}.safetensors", adapter_name=one)
    pipeline.set_adapters(list(weights), list(weights.values()))
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        **TEXTS, num_inference_steps=4, guidance_scale=wanted(name).cfg_scale, width=32, height=32, latents=noise,
        output_type="pt",
    ).images[0]  # fmt: skip
    assert (ours - theirs).abs().max() < 1e-4
    assert (ours - drawn(engine_of(root, name), wanted(name))).abs().max() > 0.01, "and the LoRA is to be seen"


@pytest.mark.parametrize("name", ["plain", "xl"])
def test_a_lora_of_all_networks_draws_as_the_model_it_was_merged_into(root: Path, name: str) -> None:
    """diffusers 0.42 leaves out what kohya's files change in the text encoders, beside transformers 5."""
    ours = drawn(engine_of(root, name), wanted(name, lora=(f"{name}-kohya:0.8",)))
    engine = engine_of(root, name)
    tiny_loras.merged(engine.models, tiny_loras.random_terms(engine.models), 0.8)
    assert (ours - drawn(engine, wanted(name))).abs().max() < 1e-4
    of_unet = drawn(engine_of(root, name), wanted(name, lora=(f"{name}-unet:0.8",)))
    assert (ours - of_unet).abs().max() > 1e-3, "and what it changes in the text encoders is to be seen"


def test_pictures_with_other_loras_share_a_batch_and_are_what_they_are_alone(root: Path) -> None:
    engine = engine_of(root, "plain")
    jobs = [
        wanted("plain"),
        wanted("plain", lora=("plain-kohya:0.8",), candidates=2),
        wanted("plain", lora=("plain-kohya:-1", "plain-conv"), cfg_scale=1),
        wanted("plain", lora=("plain-conv:0.5",), seed=8),
    ]
    assert len({job.batch_key for job in jobs}) == 1
    alone = [drawn(engine, job) for job in jobs]
    engine.exact = False
    slots, last = [engine.open(job) for job in jobs], [torch.empty(0)] * 4
    while not slots[0].done:
        for number, step in enumerate(engine.advance(slots)):
            last[number] = last[number] if step.image is None else step.image
    for one, other in zip(alone, last, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert torch.equal(drawn(engine, jobs[0]), alone[0]), "and the model is as it was"


def test_a_resumed_picture_goes_on_with_its_lora(root: Path) -> None:
    engine, job = engine_of(root, "plain"), wanted("plain", lora=("plain-kohya",))
    slot = engine.open(job)
    engine.advance([slot])
    again = engine.resume(job, slot.state_dict())
    while not slot.done:
        ours, theirs = engine.advance([slot])[0].image, engine.advance([again])[0].image
    assert ours is not None and theirs is not None and torch.equal(ours, theirs)


def test_every_layer_has_the_name_the_original_code_gave_it(root: Path) -> None:
    unet = load_named("diffusers/xl", root).unet
    for name, layer in unet.named_modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            back = {original_names._unet_name(f"{one}.weight", 2) for one in lora_names.original_names(name, 1)}
            assert back == {f"{name}.weight"}


@pytest.mark.parametrize("layer", ["down_blocks.0.attentions.0.transformer_blocks.0.attn1", "mid_block.attentions.0"])
@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("unet.{}.processor.to_q_lora.down.weight", "down"),
        ("{}.processor.to_out_lora.up.weight", "up"),
        ("unet.{}.to_k.lora.up.weight", "up"),
        ("unet.{}.to_k.lora_A.weight", "down"),
        ("base_model.model.{}.to_k.lora_B.default.weight", "up"),
        ("unet.{}.to_k.alpha", "alpha"),
    ],
)
def test_names_of_diffusers_and_peft_old_and_new_are_read(layer: str, written: str, what: str) -> None:
    key = lora_names.read_key(written.format(layer))
    assert key is not None and key.part == "unet" and key.what == what and key.layer.startswith(f"{layer}.to_")


def test_a_lora_of_another_model_is_refused_in_one_sentence(root: Path) -> None:
    terms = tiny_loras.random_terms(load_named("diffusers/xl", root), ends=("attn2.to_k",))
    told = {"ss_base_model_version": "sdxl_base_v1-0"}
    tiny_loras.save_kohya(root / "lora" / "for-xl.safetensors", terms, metadata=told)
    with pytest.raises(CheckpointDamaged) as refused:
        engine_of(root, "plain").open(wanted("plain", lora=("for-xl",)))
    said = str(refused.value)
    assert said.startswith("The LoRA for-xl does not fit diffusers/plain: its layer ") and "\n" not in said
    assert "(32, 64)" in said and "(32, 32)" in said and "sdxl_base_v1-0" in said


def test_files_that_are_no_loras_are_refused_and_listed(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lora"
    folder.mkdir()
    good = root / "lora" / "plain-kohya.safetensors"
    (folder / "good.safetensors").write_bytes(good.read_bytes())
    (folder / "run.pt").write_bytes(b"\x80\x04.")
    (folder / "bad name.safetensors").write_bytes(good.read_bytes())
    (folder / "bomb.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    (folder / "cut.safetensors").write_bytes(good.read_bytes()[:-40])
    tensors = load_file(good)
    first = next(name for name in tensors if name.endswith("lora_down.weight"))
    tiny_loras.saved(folder / "dora.safetensors", {**tensors, first[:-17] + ".dora_scale": torch.ones(1)})
    tiny_loras.saved(folder / "nan.safetensors", {**tensors, first: tensors[first] * float("nan")})
    tiny_loras.saved(folder / "half.safetensors", {k: v for k, v in tensors.items() if k != first})
    tiny_loras.saved(folder / "odd.safetensors", {**tensors, "lora_unet_elsewhere.lora_up.weight": torch.ones(2, 2)})
    engine = engine_of(root, "plain")
    engine._loras._directory = tmp_path
    for name, why in {
        "bomb": "its safetensors header|it would have", "cut": "cannot be used", "dora": "it is a DoRA",
        "nan": "not finite", "half": "a matrix is missing", "odd": "is none of the model's",
    }.items():  # fmt: skip
        with pytest.raises(CheckpointDamaged, match=why):
            engine.open(wanted("plain", lora=(name,)))
    with pytest.raises(CheckpointMissing, match=r"There is no LoRA 'none'.*choose one of: .*good"):
        engine.open(wanted("plain", lora=("none",)))
    said = listing(tmp_path)
    assert "lora/good " in said and "your own LoRA" in said
    assert "lora/run.pt: It cannot be used: a LoRA is a .safetensors file" in said
    assert "lora/bad name: Its name has signs" in said and "lora/dora: It cannot be used: it is a DoRA" in said
    drawn(engine, wanted("plain", lora=("good",)))


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        (["../secret"], "names no LoRA"),
        (["a/b:1"], "names no LoRA"),
        (["a:much"], "is no number"),
        (["a:9"], "from -4 to 4"),
        (["a:0.5", "a:1"], "names a twice"),
        ([f"a{n}" for n in range(9)], "at most 8"),
    ],
)
def test_what_names_no_lora_is_said_in_a_sentence(lora: list[str], said: str) -> None:
    with pytest.raises(BadParams, match=said):
        parameters.validate("latent-diffusion", {"prompt": "x", "checkpoint": "diffusers/plain", "lora": lora})


def test_the_embedded_model_takes_none() -> None:
    with pytest.raises(BadParams, match="lora means nothing to mini-latent-diffusion"):
        parameters.validate("latent-diffusion", {"prompt": "x", "lora": ["a"]})


def test_the_picture_says_its_loras_and_the_command_line_takes_several(root: Path) -> None:
    given = vars(parser_for("latent-diffusion").parse_args(["x", "--lora", "plain-kohya:0.8", "--lora", "plain-conv"]))
    job = wanted("plain", lora=given["lora"])
    assert job.lora == ("plain-kohya:0.8", "plain-conv:1")
    assert wanted("plain", lora="plain-kohya:0.80, plain-conv").lora == job.lora
    assert "lora" not in wanted("plain").model_dump(), "pictures without any say what they said before"
    assert set(own_weights(job, root)) == {"diffusers/plain", "lora/plain-kohya", "lora/plain-conv"}
    png = encode_png(Image.new("RGB", (32, 32)), "latent-diffusion", job)
    assert read_metadata(png)[1] == job
    assert b"<lora:plain-kohya:0.8> <lora:plain-conv:1>" in png


def test_whatever_can_be_drawn_with_can_be_imported(root: Path) -> None:
    files = sorted((root / "lora").glob("*.safetensors"))
    assert len(files) >= 8
    for file in files:
        found = look_at(file)
        assert found.kind == "lora"
        check_weights(file, found)
