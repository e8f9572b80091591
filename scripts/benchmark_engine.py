"""Our VQGAN + CLIP loop against plain implementations of the two loops most people run: `--help` tells the settings.

Each loop lives in a process of its own with the same weights, cutouts and size; the processes take turns within one
run, so that a busy machine slows all of them alike. Peak memory is that of the process (of the device on a GPU).
Beside our iterations stand their products and convolutions a second, and how many of the former the chip makes of two
large matrices in the same turns. With --jobs 1 8 ours draws one picture, and eight together; an iteration is one of one
picture, and the plain loops draw one after the other.
Weights are random unless --checkpoint names real ones; then --judge may name a CLIP that did not guide, by which the
final pictures are scored. Needs requirements-dev.txt for kornia.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from generator.checkpoints.loading import load_clip, load_vqgan  # noqa: E402
from generator.checkpoints.resolve import resolve, resolve_clip  # noqa: E402
from generator.compiled import compile_networks  # noqa: E402
from generator.device import Host  # noqa: E402
from generator.engines.vqgan_clip import VqganClip  # noqa: E402
from generator.guidance.targets import spherical_distance  # noqa: E402
from generator.images.convert import no_picture  # noqa: E402
from generator.models.clip import ClipModel  # noqa: E402
from generator.models.vqgan import VQModel  # noqa: E402
from generator.params import VqganClipParams  # noqa: E402
from generator.precision import Precision  # noqa: E402
from generator.tokens import openai_clip  # noqa: E402
from scripts.device_turn import turn  # noqa: E402
from scripts.measure_device import product_rate  # noqa: E402

PLAIN = ("z+quantize notebook", "nerdyrodent style")
REAL_DETAILS = {"z_channels": 256, "resolution": 256, "ch": 128, "ch_mult": [1, 1, 2, 2, 4], "attn_resolutions": [16]}
SMALL_DETAILS = {"z_channels": 64, "resolution": 64, "ch": 32, "ch_mult": [1, 1, 2, 2, 4], "attn_resolutions": [4]}
# (embed_dim, codes, details of the VQGAN), arguments of openai-clip's CLIP, px, cutouts
REAL = ((256, 1024, REAL_DETAILS), (512, 224, 12, 768, 32, 77, 49408, 512, 8, 12), 304, 32)
SMALL = ((64, 1024, SMALL_DETAILS), (128, 96, 6, 256, 16, 77, 49408, 64, 1, 1), 128, 16)


@dataclass(frozen=True)
class Loop:
    """One that is timed: a plain one by its name, or ours with so many jobs together."""

    name: str
    jobs: int = 1
    compiled: bool = False

    @property
    def ours(self) -> bool:
        return self.name not in PLAIN


def models(arguments: argparse.Namespace) -> tuple[VQModel, ClipModel]:
    """The same weights in every process: real ones by name, otherwise random from one seed."""
    if arguments.checkpoint:
        host = Host(arguments.device, Path(arguments.checkpoints_dir), no_picture)
        checkpoint = resolve(arguments.checkpoint, host.checkpoints_dir)
        return load_vqgan(checkpoint, host), load_clip(resolve_clip(arguments.clip), host)
    torch.manual_seed(0)
    (e_dim, n_embed, details), clip, _, _ = REAL if arguments.real else SMALL
    common = {"double_z": False, "in_channels": 3, "out_ch": 3, "num_res_blocks": 2, "dropout": 0.0}
    vqgan = VQModel({"embed_dim": e_dim, "n_embed": n_embed, "ddconfig": {**common, **details}})
    return vqgan.eval().to(arguments.device), ClipModel(openai_clip("model").CLIP(*clip), "random").to(arguments.device)


def settings(arguments: argparse.Namespace, prompt: str) -> VqganClipParams:
    checkpoint = arguments.checkpoint or "imagenet-f16-1024"  # its factor and bounds: the random ones have its shape
    return VqganClipParams(
        prompt=prompt,
        checkpoint=checkpoint,
        seed=arguments.seed,
        init="random",
        width=arguments.size,
        height=arguments.size,
        steps=20_000,
        cutn=arguments.cutn,
        learning_rate=0.1,
        init_weight=0.0,
    )


def our_loop(
    loop: Loop, arguments: argparse.Namespace, prompt: str, watched: Callable[[], bool]
) -> Iterator[Tensor | None]:
    """Yields the first job's picture."""
    vqgan, clip = models(arguments)
    params = settings(arguments, prompt)
    engine = VqganClip(vqgan, [clip], device=arguments.device)
    if loop.compiled:
        compile_networks(engine)
    slots = [engine.open(params.model_copy(update={"seed": params.seed + job})) for job in range(loop.jobs)]
    seen, unseen = ([s.params.model_copy(update={"save_every": n}) for s in slots] for n in (params.save_every, 1000))
    while True:
        for slot, now in zip(slots, seen if watched() else unseen, strict=True):
            slot.params = now
        yield engine.advance(slots)[0].image


class NotebookCutouts(nn.Module):
    """Square crops of random size and place, one after the other, each pooled to the size CLIP sees."""

    def __init__(self, side: int, cutn: int) -> None:
        super().__init__()
        self.side, self.cutn = side, cutn

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        largest = min(height, width)
        smallest = min(largest, self.side)
        crops = []
        for _ in range(self.cutn):
            size = int(torch.rand(()).item() * (largest - smallest) + smallest)
            left = int(torch.randint(0, width - size + 1, ()))
            top = int(torch.randint(0, height - size + 1, ()))
            crop = image[:, :, top : top + size, left : left + size]
            crops.append(F.adaptive_avg_pool2d(crop, self.side))
        return torch.cat(crops)


class PooledCutouts(nn.Module):
    """The whole picture pooled (average and maximum) once per cutout, then kornia's augmentations and noise."""

    def __init__(self, side: int, cutn: int) -> None:
        super().__init__()
        import kornia.augmentation as K

        self.cutn = cutn
        self.average, self.greatest = nn.AdaptiveAvgPool2d(side), nn.AdaptiveMaxPool2d(side)
        self.augment = nn.Sequential(
            K.RandomAffine(degrees=15, translate=(0.1, 0.1), shear=5, p=0.7, padding_mode="zeros", keepdim=True),
            K.RandomPerspective(distortion_scale=0.7, p=0.7),
            K.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1, p=0.7),
            K.RandomErasing(scale=(0.1, 0.4), ratio=(0.3, 1 / 0.3), same_on_batch=True, p=0.7),
        )

    def forward(self, image: Tensor) -> Tensor:
        cutouts = torch.cat([(self.average(image) + self.greatest(image)) / 2 for _ in range(self.cutn)])
        cutouts = self.augment(cutouts)
        strength = torch.rand(self.cutn, 1, 1, 1, device=image.device) * 0.1
        noisy: torch.Tensor = cutouts + strength * torch.randn_like(cutouts)
        return noisy


def reference_loop(
    arguments: argparse.Namespace, prompt: str, watched: Callable[[], bool], pooled: bool
) -> Iterator[Tensor | None]:
    """Full precision throughout, one picture, decoded once to be optimised and once more to be shown."""
    vqgan, clip = models(arguments)
    for model in (vqgan, clip):
        model.requires_grad_(False).eval()
    torch.manual_seed(arguments.seed)
    make = (PooledCutouts if pooled else NotebookCutouts)(clip.resolution, arguments.cutn)
    target = clip.encode_text([prompt])
    side = arguments.size // vqgan.factor
    codes = torch.randint(vqgan.n_embed, (1, side, side), device=arguments.device)
    z = vqgan.codes_to_z(codes).detach().requires_grad_()
    low, high = (getattr(vqgan.codebook, end)(dim=0).values.view(1, -1, 1, 1) for end in ("min", "max"))
    optimiser = torch.optim.Adam([z], lr=0.1 if pooled else 0.05)
    while True:
        optimiser.zero_grad()
        image = vqgan.decode(vqgan.quantise(z)[0])
        spherical_distance(clip.encode_image(make(image)), target).mean().backward()
        optimiser.step()
        shown = None
        with torch.no_grad():
            z.clamp_(low, high)
            if watched():
                shown = vqgan.decode(vqgan.quantise(z)[0])[0].cpu()
        yield shown


def start(
    loop: Loop, arguments: argparse.Namespace, prompt: str, watched: Callable[[], bool]
) -> Iterator[Tensor | None]:
    if loop.ours:
        return our_loop(loop, arguments, prompt, watched)
    return reference_loop(arguments, prompt, watched, pooled=loop.name == "nerdyrodent style")


def worker(loop: Loop, arguments: argparse.Namespace, pipe: Connection) -> None:
    """Answers ("run", iterations, watched) with seconds, ("memory",) with bytes, ("draw", prompt, n) with a picture,
    ("flop",) with those of an iteration, ("product",) with the FLOP/s of a product of matrices."""
    torch.set_num_threads(arguments.threads)
    cuda = arguments.device.startswith("cuda")
    watch = [True]
    steps = start(loop, arguments, arguments.prompts[0], lambda: watch[0])
    while True:
        order, *rest = pipe.recv()
        if order == "stop":
            return
        if order == "memory":
            # ru_maxrss is in KiB on Linux, in bytes on macOS
            unit = 1 if sys.platform == "darwin" else 1024
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
            pipe.send(torch.cuda.max_memory_allocated() if cuda else own)
        elif order == "flop":
            with FlopCounterMode(display=False) as counter:
                next(steps)
            pipe.send(counter.get_total_flops())
        elif order == "product":
            pipe.send(product_rate(arguments.device, Precision.best(torch.device(arguments.device)).dtype))
        elif order == "run":
            iterations, watch[0] = rest
            before = time.perf_counter()
            for _ in range(iterations):
                next(steps)
            if cuda:
                torch.cuda.synchronize()
            pipe.send(time.perf_counter() - before)
        else:
            prompt, iterations = rest
            watch[0] = True
            drawn = start(loop, arguments, prompt, lambda: watch[0])
            image = None
            for _ in range(iterations):
                image = next(drawn)
            assert image is not None
            pipe.send(image.float().clamp(0, 1).numpy())


def ask(pipe: Connection, *order: Any) -> Any:
    pipe.send(order)
    return pipe.recv()


def judged(pipes: dict[Loop, Connection], arguments: argparse.Namespace) -> dict[Loop, float]:
    """Mean cosine similarity of each loop's final pictures to their prompts under the CLIP that did not guide."""
    host = Host(arguments.device, Path(arguments.checkpoints_dir), no_picture)
    judge = load_clip(resolve_clip(arguments.judge), host)
    scores = {}
    for loop, pipe in pipes.items():
        each = []
        for prompt in arguments.prompts:
            image = torch.from_numpy(ask(pipe, "draw", prompt, arguments.steps))[None].to(arguments.device)
            image = F.interpolate(image, (judge.resolution, judge.resolution), mode="bicubic", antialias=True)
            with torch.no_grad():
                each.append(float(judge.encode_image(image.clamp(0, 1)) @ judge.encode_text([prompt]).T))
        scores[loop] = statistics.mean(each)
    return scores


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true", help="VQGAN f16 1024 and ViT-B/32, 304 px, 32 cutouts")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1], help="pictures ours draws together; several: each")
    parser.add_argument("--compiled", action="store_true", help="ours compiled (T2I_COMPILE) as well")
    parser.add_argument("--warm", action="store_true", help="with --compiled: compile, so that the next call need not")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures are written to as well")
    parser.add_argument("--rounds", type=int, default=5, help="turns each loop takes")
    parser.add_argument("--iterations", type=int, default=None, help="iterations per turn; 8, or 1 with --real")
    parser.add_argument("--size", type=int, default=None, help="px a side")
    parser.add_argument("--cutn", type=int, default=None, help="cutouts per iteration")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each loop")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", help="real VQGAN weights, by name")
    parser.add_argument("--clip", default="mini", help="with --checkpoint: the CLIP that guides")
    parser.add_argument("--judge", help="with --checkpoint: a CLIP that does not guide, to score the final pictures")
    parser.add_argument("--steps", type=int, default=100, help="iterations of a judged picture")
    parser.add_argument("--prompts", nargs="+", default=["a red heart", "a yellow star", "a green tree", "a blue fish"])
    parser.add_argument("--checkpoints-dir", default="data/checkpoints")
    arguments = parser.parse_args()
    if arguments.judge and (not arguments.checkpoint or arguments.judge == arguments.clip):
        parser.error("--judge needs --checkpoint, and a CLIP other than the one that guides.")
    if arguments.warm and not (arguments.compiled and arguments.json):
        parser.error("--warm needs --compiled and --json.")
    _, _, size, cutn = REAL if arguments.real else SMALL
    arguments.size, arguments.cutn = arguments.size or size, arguments.cutn or cutn
    arguments.iterations = arguments.iterations or (1 if arguments.real else 8)
    return arguments


def timed(
    loops: list[Loop], pipes: dict[Loop, Connection], arguments: argparse.Namespace
) -> tuple[dict[tuple[Loop, bool], list[float]], float]:
    """Seconds of an iteration of one picture in every round, watched and not; FLOP/s of a product of matrices."""
    rates, times = list[float](), {(loop, watched): list[float]() for loop in loops for watched in (True, False)}
    for number in range(arguments.rounds):
        for watched in (True, False):
            for loop in loops if number % 2 == 0 else loops[::-1]:
                seconds = ask(pipes[loop], "run", arguments.iterations, watched)
                times[loop, watched].append(seconds / arguments.iterations / loop.jobs)
        rates.append(ask(pipes[loops[0]], "product"))
        gc.collect()
    return times, statistics.median(rates)


def end(pipes: dict[Loop, Connection], processes: Sequence[BaseProcess]) -> None:
    for pipe in pipes.values():
        pipe.send(("stop",))
    for process in processes:
        process.join()


def main() -> None:
    arguments = read_arguments()
    context = multiprocessing.get_context("spawn")
    loops = [Loop("ours" if jobs == 1 else f"ours, {jobs} jobs", jobs) for jobs in arguments.jobs]
    if arguments.compiled:
        loops += [Loop(f"{loop.name}, compiled", loop.jobs, True) for loop in loops]
    loops += [Loop(name) for name in PLAIN]
    if arguments.warm:
        loops = [loop for loop in loops if loop.compiled]
    pipes: dict[Loop, Connection] = {}
    processes = []
    for loop in loops:
        pipes[loop], far = context.Pipe()
        processes.append(context.Process(target=worker, args=(loop, arguments, far), daemon=True))
        processes[-1].start()
    began = time.perf_counter()
    for pipe in pipes.values():
        pipe.send(("run", 1, True))
    _ = [pipe.recv() for pipe in pipes.values()]  # weights loaded, kernels chosen or compiled
    if arguments.warm:
        arguments.json.write_text(json.dumps({"seconds": time.perf_counter() - began, "jobs": arguments.jobs}))
        return end(pipes, processes)
    with turn():
        # What is compiled makes as many, which are not counted in it.
        flop = {loop.jobs: ask(pipes[loop], "flop") / loop.jobs for loop in loops if loop.ours and not loop.compiled}
        times, chip = timed(loops, pipes, arguments)
        memory = {loop: ask(pipe, "memory") for loop, pipe in pipes.items()}
    scores = judged(pipes, arguments) if arguments.judge else {}
    end(pipes, processes)

    what = arguments.checkpoint or ("random weights, real size" if arguments.real else "random weights, small")
    found = {"what": what, "size": arguments.size, "cutn": arguments.cutn, "product": chip}
    found["loops"] = figures(times, flop, memory, chip)
    tell(found, arguments, {loop.name: score for loop, score in scores.items()})
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def figures(
    times: dict[tuple[Loop, bool], list[float]], flop: dict[int, float], memory: dict[Loop, int], chip: float
) -> dict[str, dict[str, Any]]:
    """Of each loop: iterations of one picture a second, and of a plain one how many times as fast each of ours is."""

    def faster(mine: Loop, other: Loop, watched: bool) -> float:
        return statistics.median(o / m for o, m in zip(times[other, watched], times[mine, watched], strict=True))

    found: dict[str, dict[str, Any]] = {}
    for loop, held in memory.items():
        own: dict[str, Any] = {"jobs": loop.jobs, "bytes": held}
        for watched, name in ((True, "seen"), (False, "unseen")):
            own[name] = 1 / statistics.median(times[loop, watched])
            if not loop.ours:
                own[f"ours_{name}"] = {mine.name: faster(mine, loop, watched) for mine in memory if mine.ours}
        if loop.ours:
            own |= {"flop": flop[loop.jobs], "share": flop[loop.jobs] * own["seen"] / chip}
        found[loop.name] = own
    return found


def tell(found: dict[str, Any], arguments: argparse.Namespace, scores: dict[str, float]) -> None:
    """The figures as a table."""
    print("{what}; {size} px, {cutn} cutouts".format(**found), f"on {arguments.device}, {arguments.threads} thread(s)")
    print("every frame shown | ours is   || no frame shown | ours is   || peak memory | of ours")
    ours = next(iter(found["loops"].values()))["bytes"]
    for loop, own in found["loops"].items():
        cells = [f"{loop:19}"]
        for name in ("seen", "unseen"):
            ratios = [f", {mine} {ratio:5.2f} x" for mine, ratio in own.get(f"ours_{name}", {}).items()]
            cells.append(f"{own[name]:7.3f} it/s{''.join(ratios)}")
        cells.append(f"{own['bytes'] / 2**20:7.0f} MiB, {own['bytes'] / ours:5.2f} x ours")
        if scores:
            cells.append(f"judged by {arguments.judge}: {scores[loop]:.4f}")
        print(" | ".join(cells))
    for loop, own in found["loops"].items():
        if "flop" in own:
            print(
                f"{loop}: {own['flop'] / 1e9:.0f} GFLOP an iteration, {own['flop'] * own['seen'] / 1e9:.0f} GFLOP/s; "
                f"a product of matrices {found['product'] / 1e9:.0f}: {own['share']:.0%}."
            )
    if not scores:
        print("Final score by a CLIP that did not guide: left out, it needs --checkpoint and --judge, real weights.")


if __name__ == "__main__":
    main()
