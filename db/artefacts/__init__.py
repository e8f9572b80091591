"""Files that jobs have made and visitors have uploaded: bytes under a key, and a row that describes them."""

from db.artefacts.records import (
    KINDS,
    Artefact,
    discard,
    get,
    key_for,
    left_by_ended_jobs,
    of_job,
    of_jobs,
    record,
    save,
    tidy,
    upload_key,
)
from db.artefacts.store import Store

__all__ = [
    "KINDS",
    "Artefact",
    "Store",
    "discard",
    "get",
    "key_for",
    "left_by_ended_jobs",
    "of_job",
    "of_jobs",
    "record",
    "save",
    "tidy",
    "upload_key",
]
