"""The settings of a download job."""

from __future__ import annotations

from pydantic import model_validator

from generator import registry
from generator.params.base import Setting
from generator.params.job import JobParams


class DownloadParams(JobParams):
    """The files of a checkpoint or CLIP model, fetched to the machine of the executor that takes the job."""

    name: str = Setting(group="main", max_length=140, description="The checkpoint or CLIP model, as the list shows it.")

    @model_validator(mode="after")
    def _can_be_fetched(self) -> DownloadParams:
        registry.lookup("checkpoint to download", registry.PUBLISHED, self.name)
        return self

    @property
    def title(self) -> str:
        return f"download {self.name}"

    @property
    def loads(self) -> tuple[str, tuple[str, ...]]:
        return registry.NO_CHECKPOINT, ()

    @property
    def batch_key(self) -> str:
        return "download"

    @property
    def total_steps(self) -> int:
        """Percent."""
        return 100
