"""python -m generator.training DATA --preset tiny --name birds: a text-to-image model of one's own, without queue;
python -m generator.training import FILE --name birds: one that was trained elsewhere.

The flags are those of its parameters (generator.params.train). The same command goes on where a run was stopped. With
several GPUs or machines: accelerate launch -m generator.training DATA ... Exit status: 0, 1 when the run failed, 2 for
bad input, 130 after Ctrl-C, the state being kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.params.train import TrainParams
from generator.training.importing import import_model
from generator.training.without_queue import Kind, run

if TYPE_CHECKING:
    from generator.learning.runs import Run
    from generator.learning.stream.samples import CaptionStream


def _begin(params: TrainParams, stream: CaptionStream, device: str, checkpoints: Path, together: Any) -> Run:
    from generator.learning.caption_diffusion.run import CaptionRun

    return CaptionRun(params, stream, device, checkpoints, together)


def _keep(run: Run, params: TrainParams, checkpoints: Path) -> str:
    kind = f"caption-diffusion/{params.name}"
    made = run.export(checkpoints / kind)[0]
    return (
        f"{made} is the model. Draw with it: python -m generator {run.captions[0]!r} "
        f"--engine latent-diffusion --checkpoint {kind}"
    )


CAPTIONS = Kind(
    "python -m generator.training",
    "Trains a text-to-image model from captioned pictures. The same command goes on where it stopped. "
    "`python -m generator.training import FILE --name NAME` takes a model that was trained elsewhere.",
    "caption-diffusion",
    TrainParams,
    _begin,
    _keep,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status. `import` is a word of its own; a folder called so is ./import."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["import"]:
        return import_model(words[1:])
    return run(argv, CAPTIONS)


if __name__ == "__main__":
    sys.exit(main())
