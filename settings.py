"""The studio's configuration: every value that may differ between two machines.

Read once by each entry point (`Settings()`) and passed on. Each field is set by the environment
variable of the same name with the prefix `T2I_`, e.g. `T2I_DATABASE_URL`.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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
        None,
        min_length=8,
        description="Password of the Host page, 8 characters or more, or its hash as `python -m api hash-password` "
        "prints it; unset: no such page.",
    )
    host_session_days: float = Field(
        7.0, gt=0, le=365, description="How long the host stays signed in in one browser, in days."
    )
    host_emails: str = Field(
        "",
        description="Who is the host where Streamlit's own login is set up: addresses with commas between them.",
    )
    exports_dir: Path = Field(Path("data/exports"), description="Folder of exported evenings.")
    default_engine: str = Field("vqgan-clip", description="The engine a new page shows first.")
    default_checkpoint: str = Field("mini", description="The checkpoint a new page shows first.")
    search_clip: str = Field(
        "mini",
        description="The CLIP model by which pictures are searched for by their meaning; after a change executors look "
        "at all pictures again. Empty: no such search.",
    )
    search_bytes: int = Field(
        512 << 20,
        ge=1 << 20,
        description="Memory that the search may take in the web app; of more pictures the newest are searched.",
    )

    picture_licence: str = Field(
        "",
        max_length=200,
        description="The licence of new pictures, written into them: a short text such as CC BY 4.0, or an address; "
        "empty: none is told.",
    )
    made_with_ai_note: bool = Field(
        False,
        description="Whether exported galleries and the pages of shared links say that pictures are made with AI.",
    )

    c2pa: bool = Field(
        False,
        description="Whether executors sign finished pictures (C2PA: made with AI, by this studio); needs "
        "requirements-c2pa.txt.",
    )
    c2pa_key: Path = Field(
        Path("data/c2pa.pem"),
        description="The key to sign with and, after it, its certificates, as PEM; made by the first executor where "
        "there is none.",
    )

    public_url: str | None = Field(
        None,
        description="The address that visitors type, for the wall's QR code; unset: where the wall itself was opened.",
    )
    trusted_proxies: str = Field(
        "",
        description="Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses and networks "
        "with commas between them, as 127.0.0.1, 172.16.0.0/12; empty: none.",
    )
    embed_origins: str = Field(
        "",
        description="Origins whose pages may show the studio in a frame, with commas between; *: all; unset: none.",
    )
    wall_refresh_s: float = Field(2.0, ge=0.1, le=60, description="How often the wall looks for new pictures.")

    lease_s: float = Field(60.0, gt=0, description="A job whose executor is silent for this long is given to another.")
    heartbeat_s: float = Field(5.0, gt=0, description="How often an executor reports that it is alive.")
    state_every_s: float = Field(10.0, gt=0, description="How often a running job's slot state is saved.")
    check_every_s: float = Field(
        5.0, ge=0.1, le=60, description="How often the starter looks whether the web app and the executors are alive."
    )
    hung_after_s: float = Field(
        60.0,
        ge=1,
        description="A part that gives no sign of life for so long is ended and started again: the web app that does "
        "not answer, the executor without a heartbeat (four of them, or a lease, where those take longer).",
    )
    max_attempts: int = Field(
        3, ge=1, description="How many executors may be lost while a job runs alone there before it fails."
    )
    stall_s: float = Field(
        1800.0,
        ge=0,
        le=604_800,
        description="An executor that is stuck in one step, or in loading a model, for so long ends itself; 0: never.",
    )
    max_queued_per_submitter: int = Field(50, ge=1, description="Jobs one visitor may have waiting at once.")
    max_per_hour_per_submitter: int | None = Field(
        None, ge=1, description="Jobs one visitor may ask for in an hour; unset: no limit."
    )
    max_queued_per_address: int | None = Field(
        300,
        ge=1,
        description="Jobs that all visitors of one network address may have waiting together; an evening behind one "
        "router is one address.",
    )
    max_per_hour_per_address: int | None = Field(
        None, ge=1, description="Jobs that all visitors of one network address may ask for in an hour; unset: no limit."
    )
    max_queued: int | None = Field(1000, ge=1, description="Jobs that may wait at once, of everybody together.")
    event_code: str | None = Field(
        None,
        min_length=4,
        max_length=40,
        description="What visitors type once before they draw, vote or send pictures; the wall's QR code brings it "
        "along. Unset: none is asked for.",
    )
    max_job_s: float = Field(
        1800.0, ge=0, description="What one job may cost, in s of an executor that works on nothing else; 0: no limit."
    )
    train: bool = Field(
        False, description="Whether visitors may have models trained from pictures of their own; the host and keys may."
    )
    train_from: str = Field(
        "",
        description="Servers that runs may stream their pictures from: patterns of addresses with commas between them, "
        "as ws://127.0.0.1:*/*; empty: none.",
    )
    eir_model: str | None = Field(
        None,
        description="The trained model that answers `GET /info` and `POST /predict` as EIR's do, as "
        "caption-diffusion/NAME; unset: the last that was trained or imported.",
    )
    max_train_s: float = Field(
        86_400.0,
        ge=0,
        description="What one run that trains a model may cost, in s of an executor; it ends with the model it has by "
        "then. 0: no limit.",
    )
    slice_s: float = Field(
        120.0, ge=0, description="A job that has run for so long makes room while others wait; 0: it need not."
    )
    share: float = Field(
        0.5, gt=0, le=1, description="Of all executors' places, what one visitor gets at most while others wait."
    )
    max_upload_bytes: int = Field(10 * 1024 * 1024, ge=1, description="Largest image a visitor may upload.")
    max_upload_bytes_per_submitter: int | None = Field(
        512 << 20, ge=1, description="Bytes of the pictures given by one visitor or key that are kept."
    )
    max_upload_bytes_per_address: int | None = Field(
        4 << 30, ge=1, description="The same of all who share an address, as behind one router."
    )
    max_upload_bytes_total: int | None = Field(16 << 30, ge=1, description="The same of everybody together.")
    max_dataset_bytes: int = Field(
        512 << 20, ge=1, description="Largest zip of captioned pictures that is taken to train a model from."
    )
    max_dataset_bytes_per_submitter: int | None = Field(
        1 << 30, ge=1, description="Bytes of the datasets of one visitor or key that are kept."
    )
    max_dataset_bytes_per_address: int | None = Field(
        4 << 30, ge=1, description="The same of all who share an address."
    )
    max_dataset_bytes_total: int | None = Field(16 << 30, ge=1, description="The same of everybody together.")
    max_model_bytes: int = Field(
        4 << 30, ge=1, description="Largest file of a model that is imported; from the page 60 MB."
    )
    min_free_bytes: int = Field(
        1 << 30, ge=0, description="What is to stay free of the studio's disks: nothing new is taken below it; 0: all."
    )

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
    compile: bool = Field(
        False,
        description="Whether executors on CUDA compile VQGAN's decoder and CLIP's image towers for the sizes they "
        "draw, and keep that in the user's cache; not measured yet.",
    )
    json_log: bool = Field(False, description="Whether executors and the API log a JSON object a line.")

    @field_validator("host_password")
    @classmethod
    def _is_a_hash_or_none(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("$argon2"):
            import argon2  # executors, which have no use for it, are mostly told nothing of a password

            try:
                found = argon2.extract_parameters(value)
            except argon2.exceptions.InvalidHashError:
                raise ValueError("no argon2 hash can be read; `python -m api hash-password` makes one") from None
            if found.memory_cost > 1 << 20 or found.time_cost > 20 or found.parallelism > 16:
                raise ValueError("this hash takes too long to compare; 1 GiB, 20 passes and 16 lanes are permitted")
        return value

    @field_validator("picture_licence")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.strip().isprintable():
            raise ValueError("a licence is one line, such as CC BY 4.0 or an address")
        return value.strip()

    @field_validator("trusted_proxies")
    @classmethod
    def _readable(cls, value: str) -> str:
        proxy_networks(value)
        return value

    @field_validator("stall_s")
    @classmethod
    def _no_moment(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("0 (never), or 1 s and more, is permitted: a step may take a moment.")
        return value

    @property
    def exactly(self) -> bool | None:
        """`exact` as engines take it: None leaves it to the device."""
        return {"always": True, "never": False}.get(self.exact)

    @property
    def train_addresses(self) -> list[str]:
        """The patterns of train_from."""
        return _listed(self.train_from)

    @property
    def cors_origins(self) -> list[str]:
        """The origins of api_cors."""
        return _listed(self.api_cors)

    @property
    def embedders(self) -> list[str]:
        """The origins of embed_origins."""
        return _listed(self.embed_origins)

    @field_validator("embed_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in _listed(value):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("an origin is https://name or https://name:port, e.g. https://museum.example.org")
        return value


_ORIGIN = re.compile(r"https?://(?:\*\.)?[A-Za-z0-9.-]+(?::\d{1,5})?")


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def proxy_networks(text: str) -> tuple[Network, ...]:
    """The addresses and networks of trusted_proxies. Raises ValueError, which names what is none."""
    found: list[Network] = []
    for part in text.split(","):
        if part.strip():
            try:
                found.append(ipaddress.ip_network(part.strip()))
            except ValueError:
                raise ValueError(
                    f"{part.strip()!r} is no address and no network; permitted are such as 127.0.0.1, ::1, 10.0.0.0/8"
                ) from None
    return tuple(found)


def misread(error: ValidationError) -> str:
    """What is wrong with the configuration, in a sentence for whoever set it."""
    wrong = "; ".join(f"T2I_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
    return f"The configuration cannot be read. {wrong}."
