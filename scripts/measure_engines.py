"""Seconds per step and peak memory of every engine and checkpoint, into docs/engines.json and docs/engines.md.

python scripts/measure_engines.py [NAME ...] [--device cuda]. Real architectures have random weights, which take as long
as the published ones. On a GPU every job has its default settings; on a CPU, where those would take minutes a step, a
small picture and few cutouts. Each row is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator import registry
from generator.checkpoints.diffusers_folder import DiffusersFolder, Network
from generator.checkpoints.stable_diffusion import build
from generator.device import Host
from generator.engines import loading
from generator.engines.biggan_clip import BigganClip
from generator.engines.guided_diffusion import GuidedDiffusion
from generator.engines.stable_diffusion import StableDiffusion
from generator.engines.vqgan_clip import VqganClip
from generator.images.convert import no_picture
from generator.models import biggan
from generator.models.clip import ClipModel
from generator.models.openai_unet import ARCHITECTURES
from generator.params import validate
from generator.upscaler.model import load_upscaler
from tests import real_formats as real
from tests import tiny_diffusers as folders

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "engines.json"
CUTS = {"cut_overview": "2", "cut_innercut": "2", "cutn_batches": 1}
# On a CPU: the settings of each checkpoint that are smaller than its own. SD XL has 10 GB of weights in fp32 there.
SMALL: dict[str, dict[str, Any]] = {
    "imagenet-f16-16384": {"width": 128, "height": 128, "cutn": 4},
    "openimages-f8-8192": {"width": 128, "height": 128, "cutn": 4},
    "guided-diffusion-256": {"width": 64, "height": 64, **CUTS},
    "guided-diffusion-512": {"width": 64, "height": 64, **CUTS},
    "stable-diffusion-1-5": {"width": 64, "height": 64},
    "biggan-deep-128": {"cutn": 4},
    "biggan-deep-256": {"cutn": 4},
    "biggan-deep-512": {"cutn": 4},
    "swinir-l": {"side": 32},
}
GPU_ONLY = ("stable-diffusion-xl",)
MINI = ("mini", "mini-diffusion", "mini-latent-diffusion", "mini-biggan", "mini-upscaler")
STEPS, GPU_STEPS, WARM_UP = 3, 10, 1  # of which the middle one counts


def rows(device: str) -> dict[str, dict[str, Any]]:
    """What is measured on a device: the settings of each checkpoint that differ from its own."""
    if device == "cpu":
        return {name: {} for name in MINI} | SMALL
    return {name: {} for name in (*MINI, *SMALL, *GPU_ONLY)}


def engine_of(name: str) -> str:
    """The engine that the checkpoint is for."""
    return next(engine for engine, spec in registry.ENGINES.items() if name in spec.checkpoints)


def load(name: str, clip: tuple[str, ...], device: str) -> Any:
    """The engine: an embedded one with its weights, a real architecture with random ones."""
    torch.manual_seed(0)
    if registry.CHECKPOINTS[name].embedded:
        with tempfile.TemporaryDirectory() as folder:
            return loading.load(engine_of(name), name, clip, Host(device, Path(folder), no_picture))
    clips = [ClipModel(real.random_clip(real.CLIP_ARCHITECTURES[one]), one) for one in clip]
    for one in clips:
        one.to(device)
    if name in ARCHITECTURES:
        return GuidedDiffusion(real.random_openai_unet(ARCHITECTURES[name]), clips, device=device)
    if name.startswith("biggan"):
        config = real.biggan_config(registry.CHECKPOINTS[name].factor)
        model = biggan.from_published(config, real.random_biggan(config).state_dict())
        return BigganClip(model.to(device), clips, device=device)
    if name.startswith("stable-diffusion"):
        return StableDiffusion(stable_diffusion(name.endswith("xl")), clips, device=device)
    gumbel = name.startswith("openimages")
    codes = 8192 if gumbel else int(name.rpartition("-")[2])
    vqgan = real.random_vqgan(real.taming_params(codes, gumbel=gumbel), gumbel=gumbel)
    return VqganClip(vqgan.requires_grad_(False).to(device), clips, device=device)


def stable_diffusion(xl: bool) -> Any:
    """Its networks at random weights, in fp32, on the CPU."""
    texts = (folders.REAL_TEXT, folders.REAL_TEXT_2) if xl else (folders.REAL_TEXT,)
    unet = folders.REAL_UNET_XL if xl else folders.REAL_UNET
    networks = tuple(Network(config, (), "!") for config in texts)
    models = build(DiffusersFolder(networks, Network(unet, ()), Network(folders.REAL_VAE, ()), folders.SCHEDULER, xl))
    noise = torch.randn(1 << 20)
    for part in models.parts:
        part.load_state_dict({key: drawn(value, key, noise) for key, value in part.state_dict().items()}, assign=True)
    return models


def drawn(shaped: torch.Tensor, key: str, noise: torch.Tensor) -> torch.Tensor:
    """Random numbers of that shape that keep what passes near 1; ones where a norm is."""
    if shaped.ndim == 1 and key.endswith("weight"):
        return torch.ones(shaped.shape)
    count = -(-shaped.numel() // len(noise))
    filled: torch.Tensor = noise.repeat(count)[: shaped.numel()].view(shaped.shape) * shaped[0].numel() ** -0.5
    return filled


def stepper(name: str, changes: dict[str, Any], device: str) -> tuple[Callable[[], Any], dict[str, Any]]:
    """A function that takes one step, and what to know of the job."""
    engine = engine_of(name)
    if engine == "upscale":
        side = changes.get("side", 128)
        with tempfile.TemporaryDirectory() as folder:
            if name == "swinir-l":
                network: nn.Module = real.save_swinir(Path(folder) / real_file(name))
                del network
            upscaler = load_upscaler(name, device, Path(folder))
        picture = torch.rand(1, 3, side, side)
        return lambda: upscaler.upscale(picture), {"job": f"a tile of {side} px", "steps": 1}
    params = validate(engine, {"prompt": "a castle in the clouds", "checkpoint": name, "seed": 0, **changes})
    loaded = load(name, params.clip, device)
    slot = loaded.open(params)
    slots = itertools.chain([slot], (loaded.open(params) for _ in itertools.count()))
    now = next(slots)

    def step() -> None:
        nonlocal now
        if now.done:
            now = next(slots)
        (made,) = loaded.advance([now])
        if made.error:
            raise made.error

    job = "{} x {} px".format(*params.actual_size)
    if getattr(params, "cuts_scheduled", False):
        job += f", {params.cutouts_per_step} cutouts at most"
    elif "cutn" in type(params).model_fields:
        job += f", {params.cutouts_per_step} cutouts"
    elif "candidates" in type(params).model_fields:
        job += f", candidates {params.cutouts_per_step}"
    return step, {"job": f"{job}, {'+'.join(params.clip)}", "steps": params.total_steps}


def real_file(name: str) -> str:
    """The name its publisher gave the weights."""
    from generator.registry import PUBLISHED

    return PUBLISHED[name].files[-1].name


def measure(name: str, device: str, pipe: Connection) -> None:
    """Sends what was measured. On a CPU the seconds are those of one core, whatever else the machine does."""
    torch.set_num_threads(1)
    cuda = device.startswith("cuda")
    clock = time.perf_counter if cuda else time.process_time
    step, about = stepper(name, rows("cuda" if cuda else "cpu")[name], device)
    seconds = []
    for number in range(WARM_UP + (GPU_STEPS if cuda else STEPS)):
        began = clock()
        step()
        if cuda:
            torch.cuda.synchronize(device)
        if number >= WARM_UP:
            seconds.append(clock() - began)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB on Linux
    held = (
        torch.cuda.max_memory_allocated(device) if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    )
    pipe.send({**about, "seconds_per_step": round(sorted(seconds)[len(seconds) // 2], 4), "bytes": held})


def machine(device: str) -> str:
    """What it was measured on."""
    what = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{processor()}, one thread"
    return f"{what}, PyTorch {torch.__version__.partition('+')[0]}"


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="checkpoints; all that the device can hold")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    arguments = parser.parse_args()
    kind = "cuda" if arguments.device.startswith("cuda") else "cpu"
    wanted = arguments.names or list(rows(kind))
    for name in wanted:
        registry.lookup("checkpoint that is measured there", rows(kind), name)
    saved = json.loads(TARGET.read_text()) if TARGET.is_file() else {}
    failed = 0
    for name in wanted:
        here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=measure, args=(name, arguments.device, there))
        process.start()
        there.close()
        try:
            made = here.recv()
        except EOFError:
            failed += 1
            print(f"{name}: could not be measured", file=sys.stderr)
            continue
        finally:
            process.join()
        print(
            f"{name}: {made['job']}: {made['seconds_per_step']:.3f} s a step, {made['bytes'] / 1e9:.2f} GB", flush=True
        )
        saved.setdefault(kind, {})[name] = {**made, "machine": machine(arguments.device)}
        TARGET.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    subprocess.run([sys.executable, str(ROOT / "scripts" / "make_docs.py")], check=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
