"""The settings of a rank job."""

from __future__ import annotations

from pydantic import field_validator, model_validator

from generator import registry
from generator.params.base import Setting, check_text_length, clean_prompt
from generator.params.job import JobParams
from generator.prompts import PromptError, parse_prompts

MAX_PICTURES = 64


class RankParams(JobParams):
    """Finished pictures, those first in which CLIP (Radford et al. 2021, arXiv:2103.00020) sees a prompt best, and
    which are well made."""

    prompt: str = Setting(
        group="main", description="What the pictures should show. Several prompts with |, each text:weight."
    )
    pictures: tuple[str, ...] = Setting(
        group="main", min_length=2, max_length=MAX_PICTURES, description="The pictures to rank."
    )
    clip: tuple[str, ...] = Setting(
        registry.RANKING, group="guidance", min_length=1, max_length=4, description="CLIP models that judge, averaged."
    )
    aesthetic_weight: float = Setting(
        0.1,
        group="guidance",
        ge=0,
        le=10,
        description="Weight of how well a picture is made, without specks and mottle, as mini-robust sees it; without "
        "that CLIP nothing.",
    )

    @field_validator("prompt")
    @classmethod
    def _clean_prompt(cls, prompt: str) -> str:
        return clean_prompt(prompt)

    @model_validator(mode="after")
    def _known_names(self) -> RankParams:
        for name in self.clip:
            registry.clip_model(name)
        try:
            for prompt in parse_prompts(self.prompt):
                check_text_length("prompt", prompt)
        except PromptError as error:
            raise ValueError(f"The prompt {error}") from None
        return self

    @property
    def title(self) -> str:
        return self.prompt

    @property
    def loads(self) -> tuple[str, tuple[str, ...]]:
        return registry.NO_CHECKPOINT, self.clip

    @property
    def batch_key(self) -> str:
        return f"rank {'+'.join(self.clip)}"

    @property
    def total_steps(self) -> int:
        """One for each picture."""
        return len(self.pictures)

    @property
    def cutouts_per_step(self) -> int:
        return 1

    @property
    def sources(self) -> tuple[str, ...]:
        return self.pictures

    @property
    def memory_advice(self) -> str:
        return "rank with fewer or smaller CLIP models"
