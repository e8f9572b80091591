"""What the executor and the pages may ask of every job's parameters, whether it draws or not."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class JobParams(BaseModel):
    """The parameters of any job. What draws a picture from a prompt has `Params`; other jobs derive from this."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    # Whether `style` may be any words where the checkpoint was not trained on styles.
    style_is_text: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """What lists show: the prompt, or what the job does."""
        raise NotImplementedError

    @property
    def loads(self) -> tuple[str, tuple[str, ...]]:
        """The checkpoint and the CLIP models the engine is loaded with; jobs with the same ones share an engine."""
        raise NotImplementedError

    @property
    def batch_key(self) -> str:
        """Jobs with the same key can share every pass."""
        raise NotImplementedError

    @property
    def makes(self) -> str:
        """The checkpoint that a run trains, KIND/NAME; "": none."""
        return ""

    @property
    def total_steps(self) -> int:
        """Steps a finished job has made, the start (step 0) not counted."""
        raise NotImplementedError

    @property
    def actual_size(self) -> tuple[int, int] | None:
        """(width, height) in px of the picture that is made; None where there is none."""
        return None

    @property
    def pixels_at_once(self) -> int:
        """px whose activations are held at the same time."""
        return 0

    @property
    def activation_share(self) -> float:
        """Of the checkpoint's activations, what is kept for the backward pass."""
        return 1.0

    @property
    def cutouts_per_step(self) -> int:
        """Pictures each CLIP sees in one step."""
        return 0

    @property
    def loss_networks(self) -> tuple[str, ...]:
        """Names in registry.LOSS_NETWORKS of those that are needed."""
        return ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The pictures this job is made from: keys of uploads or ids of artefacts."""
        return ()

    @property
    def sparing(self) -> JobParams:
        """The same job in as little memory as its settings allow."""
        return self

    @property
    def memory_advice(self) -> str:
        """What to change where there is too little memory, as the end of a sentence."""
        return "use a machine with more memory"

    def changed(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        declared = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump().items()
            if not declared[name].is_required() and value != declared[name].get_default(call_default_factory=True)
        }
