"""What every run that learns from captioned pictures can be told, whatever it learns."""

from __future__ import annotations

import re
import secrets

from pydantic import field_validator, model_validator

from generator import registry
from generator.params.base import Setting, clean_prompt
from generator.params.job import JobParams

MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
MAX_CAPTIONS = 16
_DATASET = r"dataset:[A-Za-z0-9_-]{1,64}"


def run_key(name: str) -> str:
    """By which runs that make a model of this name are found in the queue."""
    return f"train {name}"


class LearningParams(JobParams):
    """A run: what it learns from, under which name its model is kept, how long it lasts, and what is shown of it."""

    data: str = Setting(
        group="main",
        min_length=1,
        max_length=500,
        description="The captioned pictures: dataset:ID of this studio, or ws://... of a server the host allows; on "
        "the command line also a folder, zip, parquet or tar file.",
    )
    name: str = Setting(group="main", description="Of the model: letters, digits, _ and -, at most 64 of them.")
    licence: str = Setting(
        "not stated", group="main", max_length=200, description="Of the data, as you know it; the model's card says it."
    )
    captions: tuple[str, ...] = Setting(
        (),
        group="watching",
        max_length=MAX_CAPTIONS,
        description="Drawn at every interval, 1 to 16; none: 8 captions of the pictures kept for validation.",
    )
    steps: int = Setting(2000, group="main", ge=1, le=2_000_000, description="Steps of the optimiser.")
    sample_every: int = Setting(
        200, group="watching", ge=1, le=100_000, unit="steps", description="Between two sheets of samples."
    )
    tensorboard: bool = Setting(
        False, group="watching", description="Also write events for TensorBoard; needs the package tensorboardX."
    )
    validation_share: float = Setting(
        0.05, group="main", ge=0, le=0.5, description="Of the pictures, kept from training to measure what is learnt."
    )
    batch_size: int = Setting(32, group="optimisation", ge=1, le=4096, description="Pictures per step.")
    micro_batch: int = Setting(
        0,
        group="optimisation",
        ge=0,
        le=4096,
        description="Pictures per pass; a step adds up the gradients of several. 0: all of them at once.",
    )
    learning_rate: float = Setting(1e-4, group="optimisation", gt=0, le=0.1, description="Of AdamW, after the warm-up.")
    warmup_steps: int = Setting(
        100, group="optimisation", ge=0, le=100_000, unit="steps", description="Until the learning rate is reached."
    )
    weight_decay: float = Setting(1e-2, group="optimisation", ge=0, le=1, description="Of AdamW.")
    gradient_clipping: float = Setting(
        1.0, group="optimisation", ge=0, le=1000, description="The gradient's longest norm; 0: any."
    )
    seed: int = Setting(
        default_factory=lambda: secrets.randbelow(2**32),
        group="main",
        ge=0,
        le=2**32 - 1,
        description="Of the first weights, the order of the data and the noise.",
    )

    @field_validator("name")
    @classmethod
    def _clean_name(cls, name: str) -> str:
        if not re.fullmatch(MODEL_NAME, name):
            raise ValueError(
                f"{name[:80]!r} cannot name a model: take letters, digits, _ and -, at most 64, no sign first."
            )
        return name

    @field_validator("licence")
    @classmethod
    def _clean_licence(cls, licence: str) -> str:
        return clean_prompt(licence) or "not stated"

    @field_validator("captions")
    @classmethod
    def _clean_captions(cls, captions: tuple[str, ...]) -> tuple[str, ...]:
        cleaned = tuple(clean_prompt(caption) for caption in captions)
        if not all(cleaned):
            raise ValueError("has an empty caption; leave it out.")
        return cleaned

    @model_validator(mode="after")
    def _micro_batch_fits(self) -> LearningParams:
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(
                f"micro_batch = {self.micro_batch} does not divide batch_size = {self.batch_size}; a step needs whole "
                "passes."
            )
        return self

    @property
    def is_dataset(self) -> bool:
        """Whether the data are a dataset of the studio."""
        return re.fullmatch(_DATASET, self.data) is not None

    @property
    def is_address(self) -> bool:
        """Whether the data come from a server, as they are read."""
        return re.match(r"wss?://", self.data) is not None

    @property
    def title(self) -> str:
        return f"train {self.name}"

    @property
    def loads(self) -> tuple[str, tuple[str, ...]]:
        return registry.NO_CHECKPOINT, ()

    @property
    def makes(self) -> str:
        return f"caption-diffusion/{self.name}"

    @property
    def batch_key(self) -> str:
        """Runs share nothing: each has weights of its own."""
        return run_key(self.name)

    @property
    def total_steps(self) -> int:
        return self.steps

    @property
    def memory_advice(self) -> str:
        return "set a smaller micro_batch"
