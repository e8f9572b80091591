"""Random weights of every real architecture at full size, in the real formats, over a bad line, into the models.

Needs about 6 GB of disk at a time and some minutes: python scripts/check_real_checkpoints.py [NAME ...]
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator import registry
from generator.checkpoints import store
from generator.engines.base import generate
from generator.engines.biggan_clip import BigganClip
from generator.engines.guided_diffusion import GuidedDiffusion
from generator.engines.stable_diffusion import StableDiffusion
from generator.models.biggan import BigGAN
from generator.models.clip import ClipModel, load_mini
from generator.models.lpips import LPIPS, tensors_of
from generator.models.openai_unet import ARCHITECTURES
from generator.params import GuidedDiffusionParams, LatentDiffusionParams, validate
from generator.registry import PUBLISHED
from generator.upscaler.model import load_upscaler
from tests.real_formats import (
    CLIP_ARCHITECTURES,
    BadServer,
    bad_server,
    biggan_config,
    load_named,
    random_biggan,
    random_clip,
    random_openai_unet,
    random_vgg,
    random_vqgan,
    save_biggan,
    save_jit,
    save_lightning,
    save_swinir,
    save_yaml,
    taming_params,
)
from tests.tiny_diffusers import save_at_full_size


def make(name: str, folder: Path) -> dict[str, torch.Tensor]:
    """Files of that checkpoint as its publisher offers them; the weights a model must hold after loading them."""
    entry = PUBLISHED[name]
    path = folder / entry.files[-1].name
    if entry.kind == "clip":
        clip = random_clip(CLIP_ARCHITECTURES[name])
        save_jit(path, clip)
        return {key: value.half().float() for key, value in clip.state_dict().items() if value.is_floating_point()}
    if entry.kind == "lpips":
        vgg, heads = random_vgg(), {k: v for k, v in LPIPS().state_dict().items() if k.startswith("lin")}
        for file, tensors in zip(entry.files, (vgg, heads), strict=True):
            torch.save(tensors, folder / file.name, _use_new_zipfile_serialization=False)
        return tensors_of(vgg, heads)
    if entry.kind == "biggan":
        side = int(name.rpartition("-")[2])
        network = random_biggan(biggan_config(side))
        save_biggan(folder, side, biggan_config(side), network)
        return {key: value for key, value in network.state_dict().items() if "running" in key or "embed" in key}
    if entry.kind == "upscaler":
        return {key: value for key, value in save_swinir(path).state_dict().items() if "attn_mask" not in key}
    if entry.kind == "guided-diffusion":
        weights = random_openai_unet(ARCHITECTURES[name]).state_dict()
        torch.save(weights, path)
        return dict(weights)
    gumbel = "f8" in name
    params = taming_params(int(name.rpartition("-")[2]), gumbel=gumbel)
    vqgan = random_vqgan(params, gumbel=gumbel)
    save_yaml(path.with_suffix(".yaml"), params, gumbel=gumbel)
    save_lightning(path, vqgan.state_dict(), moments=True)
    return vqgan.state_dict()


def check_stable_diffusion(name: str) -> str:
    """Its networks at full size from disk, and two steps with them; fetched they are not, being too large for that."""
    with tempfile.TemporaryDirectory() as temporary:
        save_at_full_size(Path(temporary) / name)
        began = time.monotonic()
        models = load_named(name, Path(temporary))
        loaded = time.monotonic()
        parameters = sum(value.numel() for part in models.parts for value in part.parameters()) / 1e6
        engine = StableDiffusion(models, [load_mini()])
        params = LatentDiffusionParams(
            prompt="a red heart", checkpoint=name, clip=("mini",), seed=0, steps=2, width=64, height=64
        )
        slot, opened = engine.open(params), time.monotonic()
        while not slot.done:
            (step,) = engine.advance([slot])
        if step.error or step.image is None:
            raise SystemExit(f"{name}: two steps leave no picture ({step.error})")
        return (
            f"{name:<20} {parameters:>6.1f} M parameters, hashed and loaded in {loaded - began:.1f} s, "
            f"two steps at 64 x 64 px in {time.monotonic() - opened:.1f} s"
        )


def serve(name: str, server: BadServer) -> None:
    """Points the table's row at the server: first a source that is gone, then one that drops and corrupts."""
    entry = PUBLISHED[name]
    files = []
    for file in entry.files:
        path = server.folder / file.name
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if file.sha256 else None
        urls = (f"{server.url}/gone", f"{server.url}/{file.name}")
        size = path.stat().st_size
        files.append(dataclasses.replace(file, urls=urls, sha256=sha256, size=size if file.size else None, about=size))
    server.refuse = {"/gone": 404}
    server.drops = [size // 3, size // 4, 0, 100]
    server.corrupt = 1
    PUBLISHED[name] = dataclasses.replace(entry, files=tuple(files))


def check(name: str) -> str:
    """Raises where anything is not as promised; a line of what was measured."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, target = Path(temporary) / "server", Path(temporary) / "checkpoints"
        folder.mkdir()
        wanted = make(name, folder)
        with bad_server(folder) as server:
            serve(name, server)
            began = time.monotonic()
            store.download(name, target, pause=0.01)
            fetched = time.monotonic()
            kind = PUBLISHED[name].kind
            model: Any = load_upscaler(name, "cpu", target) if kind == "upscaler" else load_named(name, target)
            loaded: torch.nn.Module = model.network if kind in ("clip", "biggan", "upscaler") else model
            done = time.monotonic()
        state = loaded.state_dict()
        for key, value in wanted.items():
            if not torch.equal(state[key], value):
                raise SystemExit(f"{name}: {key} is not what was saved")
        side = registry.CLIP_MODELS[name].only_side if kind == "clip" else 0
        if kind == "clip" and loaded.visual.input_resolution != side:  # type: ignore[union-attr]
            raise SystemExit(f"{name}: input side {loaded.visual.input_resolution}, not {side}")  # type: ignore[union-attr]
        if kind == "biggan":
            draw(name, model)
        if kind == "upscaler" and model.upscale(torch.rand(1, 3, 16, 16)).shape != (1, 3, 64, 64):
            raise SystemExit(f"{name}: does not upscale four times")
        if kind == "guided-diffusion":
            two_steps(name, model)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        parameters = sum(value.numel() for value in loaded.parameters()) / 1e6
        return (
            f"{name:<20} {len(wanted):>4} tensors {parameters:>6.1f} M parameters {size:>6.0f} MB, "
            f"fetched in {fetched - began:.1f} s with {len(server.requests)} requests, loaded in {done - fetched:.1f} s"
        )


def draw(name: str, biggan: BigGAN) -> None:
    """Two steps of Big Sleep's settings with a few cutouts of a small CLIP. Raises where a step fails."""
    clip = ClipModel(random_clip((16, 16, 1, 64, 4, 77, 49408, 64, 1, 1)), "small")
    engine: Any = BigganClip(biggan, [clip], precision=torch.float32)
    params = validate("biggan-clip", {"prompt": "a castle", "checkpoint": name, "steps": 2, "cutn": 4})
    *_, last = generate(engine, params)
    if last.index != 2 or last.image is None:
        raise SystemExit(f"{name}: two steps were not made")


def two_steps(name: str, denoiser: Any) -> None:
    """The first two guided steps of a 64 px picture with the checkpoint's own settings; raises where one fails."""
    clip = ClipModel(random_clip(CLIP_ARCHITECTURES["RN50"]), "RN50")
    params = GuidedDiffusionParams(prompt="a castle", checkpoint=name, width=64, height=64)
    engine = GuidedDiffusion(denoiser, [clip], precision=torch.float32)
    slot = engine.open(params)
    for _ in range(2):
        began, before = time.monotonic(), slot.x
        (step,) = engine.advance([slot])
        if step.error:
            raise step.error
        moved = float((slot.x - before).abs().mean())
        print(
            f"{name}: step {step.index}, score {step.score:.3f}, x moved by {moved:.4f}, "
            f"{time.monotonic() - began:.1f} s",
            flush=True,
        )


def main() -> int:
    """Checks the names given, or all."""
    for name in sys.argv[1:] or [name for name in PUBLISHED if name != "stable-diffusion-xl"]:
        stable = PUBLISHED[name].kind == "diffusers"
        print(check_stable_diffusion(name) if stable else check(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
