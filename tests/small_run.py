"""A small real run for tests of the executor: torch, Adam, seeded noise, states; each step takes 10 ms.

What a caption says, the run does: "diverges at 9" raises Diverged there, "no data at 9" DataProblem.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from generator import registry
from generator.device import Host
from generator.engines.train import Training
from generator.learning.runs import Diverged, Progress
from generator.learning.stream.samples import DataProblem
from generator.params.learning import LearningParams

NAME = "small-run"


class SmallRun:
    """Learns three numbers from noisy examples of them."""

    def __init__(self, params: LearningParams) -> None:
        self.params, self.step, self.total_steps, self.done = params, 0, params.steps, False
        self.captions, self.learning_rate = params.captions, 0.01
        self.noise = torch.Generator().manual_seed(params.seed)
        self.colour = torch.zeros(3, requires_grad=True)
        self.optimiser = torch.optim.Adam([self.colour], lr=0.01)

    def advance(self, seconds: float) -> Progress:
        time.sleep(0.01)
        for what, at in re.findall(r"(diverges|no data) at (\d+)", " ".join(self.captions)):
            if self.step == int(at):
                raise Diverged("The loss is nan.") if what == "diverges" else DataProblem("The server is gone.")
        example = torch.tensor([0.9, 0.5, 0.1]) + 0.1 * torch.randn(3, generator=self.noise)
        loss = (self.colour - example).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self.done = self.step >= self.total_steps
        losses = {"train": float(loss.detach())}
        if self.step % self.params.sample_every and not self.done:
            return Progress(self.step, losses, steps_per_s=100.0)
        losses["validation"] = float((self.colour.detach() - torch.tensor([0.9, 0.5, 0.1])).square().mean())
        shown = self.colour.detach().clamp(0, 1).view(1, 3, 1, 1).expand(max(len(self.captions), 1), 3, 8, 8)
        return Progress(self.step, losses, shown, 100.0)

    def smaller(self) -> bool:
        return False

    def state_dict(self) -> dict[str, Any]:
        colour, noise = self.colour.detach().clone(), self.noise.get_state()
        return {"step": self.step, "colour": colour, "noise": noise, "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.colour.copy_(state["colour"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.noise.set_state(state["noise"])
        self.step = state["step"]
        self.done = self.step >= self.total_steps

    def export(self, folder: Path, card: Mapping[str, Any] | None = None) -> list[Path]:
        path = folder / f"{self.params.name}.safetensors"
        save_file({"colour": self.colour.detach().clone()}, path)
        return [path]

    def close(self) -> None:
        return None


class SmallTraining:
    """The engine of such runs; their data are what the host opens."""

    @classmethod
    def load(cls, checkpoint: None, clips: Sequence[object], host: Host) -> Training:
        def begin(params: LearningParams) -> SmallRun:
            host.open_data(params.data)
            return SmallRun(params)

        return Training(NAME, begin)


SPEC = registry.EngineSpec(
    title="Small run",
    summary="For tests.",
    params="generator.params.learning:LearningParams",
    engine="tests.small_run:SmallTraining.load",
    checkpoints=(registry.NO_CHECKPOINT,),
    makes="model",
)


def serve() -> None:
    """Make the engine known under its name, as one more line of the registry's table."""
    registry.ENGINES[NAME] = SPEC
