"""A small real engine for tests of the executor: torch, Adam, seeded noise, batches, states.

What a prompt says, the engine does: "slow" takes 50 ms a step; "long at 4" takes half a minute for step 4; "nan at 5"
stops being finite at step 5; "broken at 3" raises there; "kills at 5" ends the process there with SIGKILL, and "kills
on opening" before; "hangs at 4" sleeps there with Python's lock held, as an endless loop in native code does; "memory
for 2" holds two pictures at once and "memory for 4 cutouts" four cutouts, as a small device would; "pauses in put",
"pauses before record" and "pauses in a frame" wait there until there is a file `go_on`, and "shows early" while it is
being opened, with a picture to be seen.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from executor.engines import WARM_UP
from generator import registry
from generator.device import Host
from generator.engines.base import NotFinite, Step
from generator.params import VqganClipParams
from generator.registry.rows import Checkpoint
from generator.upscaler import model as upscaler

NAME = "small"


def pause(where: str) -> None:
    """The next thread that comes to this place waits there, so that the process can be stopped with it there."""
    from db.artefacts import records
    from generator.output.film import Recorder

    stopped: list[str] = []

    def stopping(function: Any, at: str = "") -> Any:
        def call(*args: Any, **named: Any) -> Any:
            if not stopped and at in str(args):
                stopped.append(where)
                Path("is_there").touch()
                while not Path("go_on").exists():
                    time.sleep(0.01)
            return function(*args, **named)

        return call

    if where == "in put":
        os.replace = stopping(os.replace, "artefacts/jobs")
    elif where == "before record":
        records.record = stopping(records.record)
    else:
        Recorder.add = stopping(Recorder.add)  # type: ignore[method-assign]


class SmallSlot:
    def __init__(self, params: VqganClipParams, target: torch.Tensor) -> None:
        self.params, self.target, self.index, self.done = params, target, 0, False
        self.noise = torch.Generator().manual_seed(params.seed)
        self.z = torch.rand(3, 4, 4, generator=self.noise).requires_grad_()
        self.optimiser = torch.optim.Adam([self.z], lr=0.05)
        self.drawn: torch.Tensor

    def state_dict(self) -> dict[str, Any]:
        return {
            "z": self.z.detach().clone(),
            "optimiser": self.optimiser.state_dict(),
            "noise": self.noise.get_state(),
            "index": self.index,
        }


class SmallEngine:
    """Moves a 4 x 4 picture towards colours drawn from the prompt, with noise at every step."""

    def __init__(self, checkpoint: Checkpoint, clips: Sequence[Checkpoint], host: Host) -> None:
        self.micro_batch: int | None = None
        self._read_image, self._show = host.read_image, host.show
        if weights := os.environ.get("SMALL_ENGINE_WEIGHTS"):
            upscaler.WEIGHTS = Path(weights)

    def open(self, params: VqganClipParams) -> SmallSlot:
        digest = hashlib.sha256(params.prompt.encode()).digest()
        target = torch.tensor([byte / 255 for byte in digest[:3]]).view(3, 1, 1).expand(3, 4, 4)
        if "kills on opening" in params.prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        if "shows early" in params.prompt and self._show is not None:
            self._show(target)
            while not Path("go_on").exists():
                time.sleep(0.01)
        if params.init_image:
            self._read_image(params.init_image)
        if found := re.search(r"pauses (in put|before record|in a frame)", params.prompt):
            pause(found[1])
        return SmallSlot(params, target)

    def resume(self, params: VqganClipParams, state: dict[str, Any]) -> SmallSlot:
        slot = self.open(params)
        with torch.no_grad():
            slot.z.copy_(state["z"])
        slot.optimiser.load_state_dict(state["optimiser"])
        slot.noise.set_state(state["noise"])
        slot.index = state["index"]
        return slot

    def advance(self, slots: Sequence[SmallSlot]) -> list[Step]:
        log, for_nobody = os.environ.get("SMALL_ENGINE_LOG"), slots[0].params.prompt == WARM_UP
        if log and not for_nobody:
            with open(log, "a") as file:
                file.write(" ".join(f"{slot.params.seed}:{slot.index}" for slot in slots) + "\n")
        if any("slow" in slot.params.prompt for slot in slots):
            time.sleep(0.05)
        if any("long at 4" in slot.params.prompt and slot.index == 4 for slot in slots):
            time.sleep(30)
        for slot in slots:
            self._as_asked(slot, len(slots))
        loss = torch.stack([(slot.z - slot.target).square().mean() for slot in slots])
        loss.sum().backward()
        return [self._step(slot, float(-value)) for slot, value in zip(slots, loss.detach(), strict=True)]

    def _as_asked(self, slot: SmallSlot, batch: int) -> None:
        # Drawn first, so that a step that breaks off has moved the noise on.
        slot.drawn = torch.randn(slot.z.shape, generator=slot.noise)
        prompt = slot.params.prompt
        if found := re.search(r"memory for (\d+) cutouts", prompt):
            if (self.micro_batch or slot.params.cutn) > int(found[1]):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        elif (found := re.search(r"memory for (\d+)", prompt)) and batch > int(found[1]):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        if (found := re.search(r"broken at (\d+)", prompt)) and slot.index == int(found[1]):
            raise RuntimeError("shapes of a and b do not match")
        if (found := re.search(r"kills at (\d+)", prompt)) and slot.index == int(found[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        if (found := re.search(r"hangs at (\d+)", prompt)) and slot.index == int(found[1]):
            ctypes.PyDLL(None).sleep(1000)
        if (found := re.search(r"nan at (\d+)", prompt)) and slot.index == int(found[1]):
            with torch.no_grad():
                slot.z.fill_(float("nan"))

    def _step(self, slot: SmallSlot, score: float) -> Step:
        total = slot.params.total_steps
        if not slot.z.isfinite().all():
            slot.done = True
            error = NotFinite(f"The numbers stopped being finite at step {slot.index} of {total}.")
            return Step(slot.index, total, None, score, done=True, error=error)
        width, height = slot.params.actual_size
        image = torch.nn.functional.interpolate(slot.z.detach()[None], (height, width))[0].clamp(0, 1)
        slot.done = slot.index >= total
        step = Step(slot.index, total, image, score, {"colour": -score}, slot.done)
        if not slot.done:
            slot.optimiser.step()
            slot.optimiser.zero_grad()
            with torch.no_grad():
                slot.z.add_(slot.drawn, alpha=0.01)
            slot.index += 1
        return step


SPEC = registry.EngineSpec(
    title="Small",
    summary="For tests.",
    params="generator.params:VqganClipParams",
    engine="tests.small_engine:SmallEngine",
    checkpoints=("mini",),
)


def serve() -> None:
    """Make the engine known under its name, as one more line of the registry's table."""
    registry.ENGINES[NAME] = SPEC
