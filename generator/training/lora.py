"""python -m generator.training.lora DATA --checkpoint NAME --name ink: a LoRA of Stable Diffusion, without queue.

The flags are those of its parameters (generator.params.train_lora). The same command goes on where a run was stopped.
Exit status: 0, 1 when the run failed, 2 for bad input, 130 after Ctrl-C, the state being kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.params import BadParams
from generator.params.train_lora import TrainLoraParams
from generator.training.without_queue import Kind, run

if TYPE_CHECKING:
    from generator.learning.runs import Run
    from generator.learning.stream.samples import CaptionStream


def _begin(params: TrainLoraParams, stream: CaptionStream, device: str, checkpoints: Path, together: Any) -> Run:
    from generator.learning.lora.run import LoraRun

    if together.size > 1:
        raise BadParams("A LoRA is trained by one process; start it without accelerate launch.")
    return LoraRun(params, stream, device, checkpoints)


def _keep(run: Run, params: TrainLoraParams, checkpoints: Path) -> str:
    made = run.export(checkpoints / "lora")[0]
    return (
        f"{made} is the LoRA. Draw with it: python -m generator {run.captions[0]!r} --engine latent-diffusion "
        f"--checkpoint {params.checkpoint} --lora {params.name}:0.8"
    )


LORA = Kind(
    "python -m generator.training.lora",
    "Trains a LoRA of Stable Diffusion from captioned pictures. The same command goes on where it stopped.",
    "lora",
    TrainLoraParams,
    _begin,
    _keep,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    return run(argv, LORA)


if __name__ == "__main__":
    sys.exit(main())
