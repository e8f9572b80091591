"""Seconds per step and peak memory of every engine and checkpoint, into docs/engines.json and docs/engines.md.

python scripts/measure_engines.py [NAME ...] [--device cuda]. Real architectures have random weights, which take as long
as the published ones. On a GPU every job has its default settings; on a CPU, where those would take minutes a step, a
small picture and few cutouts. Each row is measured in a process of its own. With --json FILE the rows go there alone;
--together N has so many jobs of each take their steps together as well, --promises looks into what engines promise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator import registry
from generator.checkpoints.diffusers_folder import DiffusersFolder, Network
from generator.checkpoints.stable_diffusion import build
from generator.device import Host, peak_memory
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
from scripts.check_promises import Case, kept, waits
from scripts.device_turn import turn
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


@dataclass(frozen=True)
class Job:
    """What is measured: about it, and a function that has so many jobs take one step together. case: of an engine that
    draws."""

    about: dict[str, Any]
    stepping: Callable[[int], Callable[[], Any]]
    case: Case | None = None


def prepared(name: str, changes: dict[str, Any], device: str) -> Job:
    """The job of a checkpoint, its engine loaded."""
    engine = engine_of(name)
    if engine == "upscale":
        side = changes.get("side", 128)
        with tempfile.TemporaryDirectory() as folder:
            if name == "swinir-l":
                network: nn.Module = real.save_swinir(Path(folder) / real_file(name))
                del network
            upscaler = load_upscaler(name, device, Path(folder))

        def upscaling(count: int) -> Callable[[], Any]:
            pictures = torch.rand(count, 3, side, side)
            return lambda: upscaler.upscale(pictures)

        return Job({"job": f"a tile of {side} px", "steps": 1}, upscaling)

    def settings(**changed: Any) -> Any:
        return validate(engine, {"prompt": "a castle in the clouds", "checkpoint": name, **changes, **changed})

    params = settings(seed=0)
    loaded = load(name, params.clip, device)

    def stepping(count: int) -> Callable[[], None]:
        seeds = itertools.count()
        slots = [loaded.open(settings(seed=next(seeds))) for _ in range(count)]

        def step() -> None:
            slots[:] = [loaded.open(settings(seed=next(seeds))) if slot.done else slot for slot in slots]
            for made in loaded.advance(slots):
                if made.error:
                    raise made.error

        return step

    job = "{} x {} px".format(*params.actual_size)
    if getattr(params, "cuts_scheduled", False):
        job += f", {params.cutouts_per_step} cutouts at most"
    elif "cutn" in type(params).model_fields:
        job += f", {params.cutouts_per_step} cutouts"
    elif "candidates" in type(params).model_fields:
        job += f", candidates {params.cutouts_per_step}"
    whole = {"memory": "full"} if hasattr(params, "memory") else {}  # it would be sparing by itself
    many = (loaded.models.unet, "forward") if hasattr(loaded, "models") else (loaded.clips[0], "encode_image")
    case = Case(loaded, device, lambda seed: settings(seed=seed, save_every=1, **whole), many)
    return Job({"job": f"{job}, {'+'.join(params.clip)}", "steps": params.total_steps}, stepping, case)


def real_file(name: str) -> str:
    """The name its publisher gave the weights."""
    from generator.registry import PUBLISHED

    return PUBLISHED[name].files[-1].name


def measure(name: str, asked: argparse.Namespace, pipe: Connection) -> None:
    """Sends what was measured, again with every part. On a CPU the seconds are those of one core, whatever else the
    machine does."""
    device = asked.device
    cuda = device.startswith("cuda")
    torch.set_num_threads(4 if cuda else 1)
    job = prepared(name, rows("cuda" if cuda else "cpu")[name], device)
    with turn():
        found: dict[str, Any] = {**job.about, "seconds_per_step": seconds_of(job.stepping(1), device)}
        found["bytes"] = peak_memory(device)
        pipe.send(found)
        if asked.together:
            found["together"] = [asked.together, seconds_of(job.stepping(asked.together), device)]
            found["bytes_together"] = peak_memory(device)
            pipe.send(found)
        if asked.promises and job.case is not None:
            found["promises"] = kept(job.case)
            found["waits"] = waits(job.case)
            pipe.send(found)


def seconds_of(step: Callable[[], Any], device: str) -> float:
    """Of one step, the middle one of several, once the first has chosen its kernels."""
    cuda = device.startswith("cuda")
    clock = time.perf_counter if cuda else time.process_time
    seconds = []
    for number in range(WARM_UP + (GPU_STEPS if cuda else STEPS)):
        began = clock()
        step()
        if cuda:
            torch.cuda.synchronize(device)
        if number >= WARM_UP:
            seconds.append(clock() - began)
    return round(sorted(seconds)[len(seconds) // 2], 4)


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
    parser.add_argument("--together", type=int, default=0, metavar="N", help="so many jobs of each in one step, too")
    parser.add_argument("--promises", action="store_true", help="whether engines keep what they promise, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the rows go, instead of the docs")
    arguments = parser.parse_args()
    kind = "cuda" if arguments.device.startswith("cuda") else "cpu"
    wanted = arguments.names or list(rows(kind))
    for name in wanted:
        registry.lookup("checkpoint that is measured there", rows(kind), name)
    saved = json.loads(TARGET.read_text()) if TARGET.is_file() and not arguments.json else {}
    failed = 0
    for name in wanted:
        here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=measure, args=(name, arguments, there))
        process.start()
        there.close()
        made = None
        with suppress(EOFError):
            while True:
                made = here.recv()
                saved.setdefault(kind, {})[name] = {**made, "machine": machine(arguments.device)}
                if arguments.json:
                    arguments.json.write_text(json.dumps(saved[kind], indent=1))
        process.join()
        failed += process.exitcode != 0
        if made is None:
            print(f"{name}: could not be measured", file=sys.stderr)
            continue
        print(
            f"{name}: {made['job']}: {made['seconds_per_step']:.3f} s a step, {made['bytes'] / 1e9:.2f} GB", flush=True
        )
        if not arguments.json:
            TARGET.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    if arguments.json:
        return int(failed > 0)
    subprocess.run([sys.executable, str(ROOT / "scripts" / "make_docs.py")], check=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
