"""The studio as a page or a program has it open, and who asks it for something."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from db.artefacts import Store
from db.queue import NO_ORDER, Limits
from db.queue.orders import Order


class Configuration(Protocol):
    """What the studio reads of the configuration: settings.Settings has all of it."""

    @property
    def max_queued_per_submitter(self) -> int: ...
    @property
    def max_per_hour_per_submitter(self) -> int | None: ...
    @property
    def max_queued_per_address(self) -> int | None: ...
    @property
    def max_per_hour_per_address(self) -> int | None: ...
    @property
    def max_queued(self) -> int | None: ...
    @property
    def event_code(self) -> str | None: ...
    @property
    def max_job_s(self) -> float: ...
    @property
    def train(self) -> bool: ...
    @property
    def eir_model(self) -> str | None: ...
    @property
    def max_train_s(self) -> float: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def max_upload_bytes(self) -> int: ...
    @property
    def max_upload_bytes_per_submitter(self) -> int | None: ...
    @property
    def max_upload_bytes_per_address(self) -> int | None: ...
    @property
    def max_upload_bytes_total(self) -> int | None: ...
    @property
    def max_dataset_bytes(self) -> int: ...
    @property
    def max_dataset_bytes_per_submitter(self) -> int | None: ...
    @property
    def max_dataset_bytes_per_address(self) -> int | None: ...
    @property
    def max_dataset_bytes_total(self) -> int | None: ...
    @property
    def max_model_bytes(self) -> int: ...
    @property
    def train_addresses(self) -> list[str]: ...
    @property
    def min_free_bytes(self) -> int: ...
    @property
    def default_engine(self) -> str: ...
    @property
    def default_checkpoint(self) -> str: ...
    @property
    def search_clip(self) -> str: ...
    @property
    def search_bytes(self) -> int: ...
    @property
    def made_with_ai_note(self) -> bool: ...
    @property
    def downloads(self) -> bool: ...
    @property
    def checkpoints_dir(self) -> Path: ...
    @property
    def wildcards_dir(self) -> Path: ...
    @property
    def exports_dir(self) -> Path: ...


@dataclass(frozen=True)
class Studio:
    """What every function of this package needs: the configuration, the database and the artefact store."""

    settings: Configuration
    db: sa.Engine
    store: Store

    def limits_of(self, submitter: Submitter) -> Limits:
        """Their own, or as configured; the host's rules come before those, see `limits.in_force`.

        What a job may cost is the same for all but the host, for whom there is no such limit.
        """
        configured = self.settings
        own = submitter.limits or Limits(configured.max_queued_per_submitter, configured.max_per_hour_per_submitter)
        return replace(
            own,
            max_job_s=None if submitter.is_host else configured.max_job_s,
            max_queued_per_address=configured.max_queued_per_address,
            max_per_hour_per_address=configured.max_per_hour_per_address,
            max_queued_in_all=configured.max_queued,
        )


@dataclass(frozen=True)
class Submitter:
    """Who asks: the secret id of a visitor or of a key, and whether they have shown that they are the host.

    limits: given to them alone. order: what a program sends along with this one request. address: what stands for the
    address they ask from, the same for all who share it and not to be turned back into it; None: not known. since: when
    their id was issued, in UTC s; None: not known. admitted: the event's code is not asked of them, or came along.
    """

    id: str
    is_host: bool = False
    limits: Limits | None = None
    order: Order = NO_ORDER
    address: str | None = None
    since: float | None = None
    admitted: bool = False

    @property
    def request(self) -> Order:
        """What the queue is told of this request."""
        return replace(self.order, address=self.address)
