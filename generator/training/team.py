"""Several processes that share each batch of a run, on one machine or several, as `accelerate launch` starts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from generator.learning.caption_diffusion.run import Team


class Alone(Team):
    """One process."""

    device: str | None = None


class Together(Alone):
    """One of several: gradients and losses are sums over all of them."""

    def __init__(self, accelerator: Any) -> None:
        self.rank, self.size = int(accelerator.process_index), int(accelerator.num_processes)
        self.device = str(accelerator.device)

    def add_up(self, gradients: list[Tensor], loss: Tensor) -> Tensor:
        """Sums over all processes, in place; the loss's is returned."""
        import torch.distributed

        for tensor in (*gradients, loss):
            torch.distributed.all_reduce(tensor)
        return loss


@contextmanager
def team(device: str | None) -> Iterator[Alone]:
    """The processes that were launched together; one alone where device is None."""
    if device is None:
        yield Alone()
        return
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=device == "cpu")
    try:
        yield Together(accelerator)
    finally:
        accelerator.end_training()
