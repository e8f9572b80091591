"""Ranking as a job: finished pictures are scored for a prompt, one picture of each job in a step.

CLIP says how well they show it; where mini-robust is among the CLIPs, a head on it says how well they are made, so that
specks and mottle that win a guiding CLIP over do not win a ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from generator.checkpoints.loading import load_clip
from generator.device import Host
from generator.engines.base import NotFinite, Step
from generator.engines.batching import is_exact
from generator.guidance.targets import Targets, guide, prompt_targets
from generator.images.convert import cover, no_picture, to_tensor
from generator.models.clip import ClipModel
from generator.models.contracts import Clip
from generator.params import RankParams
from generator.precision import Precision, repeatable
from generator.registry.rows import Checkpoint

STATE_VERSION = 1


@dataclass
class RankSlot:
    """One ranking in progress; scores: of the pictures looked at so far, in the order they were named."""

    params: RankParams
    targets: Targets
    scores: list[float] = field(default_factory=list)
    done: bool = False

    @property
    def index(self) -> int:
        return len(self.scores)

    def state_dict(self) -> dict[str, Any]:
        """The scores so far; torch.load(weights_only=True) reads it back."""
        return {"version": STATE_VERSION, "scores": list(self.scores)}

    def result(self) -> dict[str, Any]:
        """The pictures, best first; equal ones in the order they were named."""
        best_first = sorted(zip(self.params.pictures, self.scores, strict=True), key=lambda entry: -entry[1])
        ranking = [{"picture": picture, "score": round(score, 6)} for picture, score in best_first]
        return {"prompt": self.params.prompt, "clip": list(self.params.clip), "ranking": ranking}


class Rank:
    """The engine: CLIP models on a device. The score of a picture is the cosine similarity of the whole picture, cut to
    a square as CLIP's own preparation does, to the prompts, averaged over the models; where one of them was taught what
    is well made, less aesthetic_weight times how far the picture is below 1, an artist's. Only the last Step has a
    result.
    """

    name = "rank"

    def __init__(
        self, clips: Sequence[Clip], *, device: str = "cpu", read_image: Callable[[str], Image.Image] = no_picture
    ) -> None:
        """On models already built."""
        self.clips, self._read_image = clips, read_image
        self.precision = Precision.best(torch.device(device))
        self.micro_batch: int | None = None
        self.exact: bool | None = None

    @classmethod
    def load(cls, checkpoint: None, clips: Sequence[Checkpoint], host: Host) -> Rank:
        """On the weights of these CLIPs. Raises CheckpointMissing, CheckpointDamaged."""
        return cls([load_clip(clip, host) for clip in clips], device=host.device, read_image=host.read_image)

    def open(self, params: RankParams) -> RankSlot:
        """Embeds the prompts. Raises PromptTooLong."""
        with repeatable():
            targets = prompt_targets(params.prompt, "", self.clips, self._read_image, self.precision)
        return RankSlot(params, targets)

    def resume(self, params: RankParams, state: dict[str, Any]) -> RankSlot:
        """A slot that goes on from `state_dict()`. Raises ValueError for a state of another kind."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"saved state has version {state.get('version')!r}; this engine reads {STATE_VERSION}.")
        slot = self.open(params)
        slot.scores = list(state["scores"])
        return slot

    @torch.no_grad()
    def advance(self, slots: Sequence[RankSlot]) -> list[Step]:
        """One picture of each slot, in one pass of each CLIP unless `exact`. A slot whose picture cannot be read gets a
        Step with what `read_image` raised; the others go on. Raises ValueError for a slot that is done."""
        if any(slot.done for slot in slots):
            raise ValueError("a slot that is done cannot be advanced.")
        read = [self._read(slot) for slot in slots]
        seeing = [slot for slot, found in zip(slots, read, strict=True) if isinstance(found, Image.Image)]
        scored = iter(self._scores(seeing, [found for found in read if isinstance(found, Image.Image)]))
        pairs = zip(slots, read, strict=True)
        return [found if isinstance(found, Step) else self._step(slot, next(scored)) for slot, found in pairs]

    def _read(self, slot: RankSlot) -> Image.Image | Step:
        try:
            return self._read_image(slot.params.pictures[slot.index])
        except Exception as error:  # of the store, the database or the picture: it ends this ranking alone
            slot.done = True
            return Step(slot.index, slot.params.total_steps, None, float("nan"), {}, True, error)

    def _scores(self, slots: list[RankSlot], images: list[Image.Image]) -> list[float]:
        """One score for each slot's picture."""
        if not slots:
            return []
        scores = torch.zeros(len(slots))
        with repeatable():
            rows = 1 if is_exact(self.exact, self.precision.device) else len(images)
            for which, clip in enumerate(self.clips):
                side = clip.resolution
                seen = torch.stack([to_tensor(cover(image, side, side)) for image in images])
                with self.precision.autocast():
                    parts = [clip.encode_image(part).float() for part in seen.to(self.precision.device).split(rows)]
                embeddings = torch.cat(parts)
                for row, slot in enumerate(slots):
                    near = guide(embeddings[row : row + 1], slot.targets, which, "cosine")[1]
                    scores[row] += float(near) / len(self.clips)
                if isinstance(clip, ClipModel) and clip.aesthetic_head is not None:
                    made = torch.cat(
                        [clip.aesthetic_scores(part) for part in seen.to(self.precision.device).split(rows)]
                    )
                    for row, slot in enumerate(slots):
                        scores[row] += slot.params.aesthetic_weight * float((made[row] - 1).clamp(-1, 0))
        return [float(score) for score in scores]

    def _step(self, slot: RankSlot, score: float) -> Step:
        total = slot.params.total_steps
        if score != score:
            slot.done = True
            error = NotFinite(f"The score of picture {slot.index + 1} of {total} is no number; try another CLIP model.")
            return Step(slot.index, total, None, score, {}, True, error)
        slot.scores.append(score)
        slot.done = slot.index == total
        return Step(
            slot.index, total, None, max(slot.scores), {}, slot.done, result=slot.result() if slot.done else None
        )
