"""The studio's configuration: every value that may differ between two machines.

Read once by each entry point (`Settings()`) and passed on. Each field is set by the environment
variable of the same name with the prefix `T2I_`, e.g. `T2I_DATABASE_URL`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Times in s, sizes in bytes; a value out of range or an unreadable one raises ValidationError."""

    model_config = SettingsConfigDict(env_prefix="T2I_", extra="ignore", hide_input_in_errors=True)

    database_url: str = Field(
        "sqlite:///data/jobs.db",
        description="Where jobs, votes and artefact records are kept: SQLite file or PostgreSQL server.",
    )
    store_url: str = Field(
        "file://data/artefacts",
        description="Where picture files are kept: a folder, or any fsspec URL (s3://...).",
    )
    checkpoints_dir: Path = Field(Path("data/checkpoints"), description="Folder of downloaded checkpoints.")
    wildcards_dir: Path = Field(
        Path("data/wildcards"), description="Folder of word lists: `__animal__` in a prompt is a line of animal.txt."
    )
    downloads: bool = Field(
        False, description="Whether visitors may have checkpoints downloaded, each up to some GB, from the Models page."
    )
    host_password: str | None = Field(
        None, min_length=8, description="Password of the Host page, 8 characters or more; unset: no such page."
    )
    host_emails: str = Field(
        "",
        description="Who is the host where Streamlit's own login is set up: addresses with commas between them.",
    )
    exports_dir: Path = Field(Path("data/exports"), description="Folder of exported evenings.")
    default_engine: str = Field("vqgan-clip", description="The engine a new page shows first.")
    default_checkpoint: str = Field("mini", description="The checkpoint a new page shows first.")

    public_url: str | None = Field(
        None,
        description="The address that visitors type, for the wall's QR code; unset: where the wall itself was opened.",
    )
    wall_refresh_s: float = Field(2.0, ge=0.1, le=60, description="How often the wall looks for new pictures.")

    lease_s: float = Field(60.0, gt=0, description="A job whose executor is silent for this long is given to another.")
    heartbeat_s: float = Field(5.0, gt=0, description="How often an executor reports that it is alive.")
    state_every_s: float = Field(10.0, gt=0, description="How often a running job's slot state is saved.")
    max_attempts: int = Field(3, ge=1, description="How many executors may lose a job before it fails.")
    max_queued_per_submitter: int = Field(50, ge=1, description="Jobs one visitor may have waiting at once.")
    max_per_hour_per_submitter: int | None = Field(
        None, ge=1, description="Jobs one visitor may ask for in an hour; unset: no limit."
    )
    max_job_s: float = Field(
        1800.0, ge=0, description="What one job may cost, in s of an executor that works on nothing else; 0: no limit."
    )
    slice_s: float = Field(
        120.0, ge=0, description="A job that has run for so long makes room while others wait; 0: it need not."
    )
    share: float = Field(
        0.5, gt=0, le=1, description="Of all executors' places, what one visitor gets at most while others wait."
    )
    max_upload_bytes: int = Field(10 * 1024 * 1024, ge=1, description="Largest image a visitor may upload.")

    api: Literal["local", "open", "keys", "off"] = Field(
        "local",
        description="Who may use the API: programs on this machine without a key, others with one (local); everybody "
        "(open); whoever has a key (keys); nobody (off).",
    )
    api_cors: str = Field(
        "", description="Origins whose pages may call the API from a browser, with commas between them; *: all."
    )
    api_max_body_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="Largest request the API reads.")
    api_private_webhooks: bool = Field(
        False, description="Whether the ends of jobs may be told to addresses of this machine and its network."
    )
    exact: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether a picture is the same bytes whatever else an executor draws: auto, on CPUs; always, on "
        "GPUs too, where no passes are shared then; never, passes are shared on CPUs too, for speed.",
    )
    json_log: bool = Field(False, description="Whether executors and the API log a JSON object a line.")

    @property
    def exactly(self) -> bool | None:
        """`exact` as engines take it: None leaves it to the device."""
        return {"always": True, "never": False}.get(self.exact)

    @property
    def cors_origins(self) -> list[str]:
        """The origins of api_cors."""
        return [origin.strip() for origin in self.api_cors.split(",") if origin.strip()]
