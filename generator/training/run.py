"""One training run: a budget of minutes or steps, resumable checkpoints, a log, a loss curve and sample sheets."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from lasting import make_folder, put_in_place

WEIGHTS = Path(__file__).parent.parent / "weights"


class Stateful(Protocol):
    """What a checkpoint holds: modules, optimisers, averages."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long to train: a number of `steps`, or `minutes` of wall clock, summed over resumptions. `stop_after` leaves
    off after that many steps of this call, with a checkpoint written."""

    minutes: float = math.inf
    steps: int | None = None
    stop_after: int | None = None

    def progress(self, step: int, elapsed: float) -> float:
        """0 at the start, 1 when the budget is spent; `elapsed` in s."""
        if self.steps is not None:
            return step / self.steps
        return elapsed / (60 * self.minutes)


def schedule(progress: float, warmup: float = 0.03, floor: float = 0.02) -> float:
    """Factor on the learning rate: linear warm-up, then a cosine down to `floor`."""
    if progress < warmup:
        return max(progress, 0.001) / warmup
    phase = min(1.0, (progress - warmup) / (1 - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * phase))


class Average:
    """Exponential moving average of a module's parameters and buffers, with a warm-up of its horizon."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.module, self.decay, self.count = module, decay, 0
        self.values = {key: value.detach().clone() for key, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for key, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.values[key].lerp_(value.detach(), 1 - decay)
            else:
                self.values[key].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values, self.count = state["values"], state["count"]


def train(
    step: Callable[[int, float, torch.Generator], Mapping[str, float | torch.Tensor]],
    parts: Mapping[str, Stateful],
    *,
    name: str,
    folder: Path,
    budget: Budget,
    seed: int,
    report: Callable[[int], None] | None = None,
    report_minutes: float = 5.0,
) -> int:
    """Call `step(number, progress, generator)` until the budget is spent; returns the steps done in all.

    `parts` go into the checkpoint <name>.pt in `folder`, beside the log and the loss curve. Each step's generator is
    seeded from (seed, number), so a resumed run draws what an uninterrupted one would have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = folder / f"{name}.pt", folder / f"{name}.jsonl"
    number, before = 0, 0.0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        for key, part in parts.items():
            part.load_state_dict(saved["parts"][key])
        number, before = saved["number"], saved["elapsed"]
        print(f"{name}: going on from step {number}", flush=True)
    start = last_report = last_line = time.monotonic()
    sums: dict[str, float | torch.Tensor] = {}  # of tensors the sum stays on their device until a line is written
    counted = done_here = 0

    def save() -> None:
        state = {key: part.state_dict() for key, part in parts.items()}
        elapsed = before + time.monotonic() - start
        torch.save({"parts": state, "number": number, "elapsed": elapsed}, checkpoint.with_suffix(".tmp"))
        put_in_place(checkpoint.with_suffix(".tmp"), checkpoint)

    while (progress := budget.progress(number, before + time.monotonic() - start)) < 1:
        if budget.stop_after is not None and done_here >= budget.stop_after:
            break
        losses = step(number, progress, torch.Generator().manual_seed(seed * 1_000_003 + number))
        number, done_here, counted = number + 1, done_here + 1, counted + 1
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + value
        now = time.monotonic()
        if now - last_line > 15:
            means = {key: round(float(value) / counted, 4) for key, value in sums.items()}
            line = {
                "step": number,
                "minutes": round((before + now - start) / 60, 2),
                **means,
                "step_s": round((now - last_line) / counted, 3),
            }
            with log.open("a") as lines:
                lines.write(json.dumps(line) + "\n")
            print(name, line, flush=True)
            last_line, sums, counted = now, {}, 0
        if now - last_report > 60 * report_minutes:
            save()
            if report is not None:
                report(number)
            last_report = time.monotonic()
    save()
    if report is not None:
        report(number)
    if log.is_file():
        curve(log, folder / f"{name}-loss.png")
    return number


def write(folder: Path, name: str, weights: dict[str, torch.Tensor], config: Mapping[str, Any]) -> None:
    """Write <name>.safetensors and <name>.json, as the embedded models are loaded from; makes the folder."""
    make_folder(folder)
    weights_file, config_file = folder / f"{name}.safetensors", folder / f"{name}.json"
    save_file(weights, weights_file.with_suffix(".part"))
    put_in_place(weights_file.with_suffix(".part"), weights_file)
    config_file.with_suffix(".tmp").write_text(json.dumps(config, indent=1) + "\n")
    put_in_place(config_file.with_suffix(".tmp"), config_file)


def curve(log: Path, output: Path) -> None:
    """Draw every loss of a log over its minutes, each scaled to its own range."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    names = [key for key in lines[-1] if key not in ("step", "minutes", "step_s")]
    picture = Image.new("RGB", (640, 40 + 160 * len(names)), "white")
    draw = ImageDraw.Draw(picture)
    for row, key in enumerate(names):
        points = [(line["minutes"], line[key]) for line in lines if key in line]
        low, high = min(value for _, value in points), max(value for _, value in points)
        top, end = 30 + 160 * row, max(minute for minute, _ in points) or 1
        draw.text((10, top - 16), f"{key}: {high:.4g} to {low:.4g} over {end:.0f} min", fill="black")
        scaled = [(10 + 620 * minute / end, top + 120 * (high - value) / (high - low or 1)) for minute, value in points]
        draw.line(scaled, fill=(30, 90, 200), width=2)
    picture.save(output)


def sheet(rows: list[torch.Tensor], output: Path, upscale: int = 2) -> None:
    """Write rows of pictures, each (N, 3, H, W) in [0, 1], as one PNG."""
    lines = [torch.cat(list(row.float().clamp(0, 1).cpu()), dim=2) for row in rows]
    array = (torch.cat(lines, dim=1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    picture = Image.fromarray(array)
    picture.resize((picture.width * upscale, picture.height * upscale), Image.Resampling.NEAREST).save(output)
