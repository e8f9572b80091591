"""A model that travels as one file: brought here by the host, taken home by everybody, and removed again."""

from __future__ import annotations

import re
from pathlib import Path

from db.errors import BadValue, UnknownArtefact
from db.models import trained
from db.models.trained import TrainedModel
from generator.checkpoints.errors import CheckpointDamaged
from generator.checkpoints.model_file import MAX_LICENCE, look_at
from generator.params.learning import MODEL_NAME
from studio import datasets, model_names, train
from studio.access import check_host
from studio.context import Studio, Submitter
from studio.errors import BadWish
from studio.room import check_room


def check_import(studio: Studio, submitter: Submitter, name: str, size: int) -> None:
    """Whether a file of so many bytes may come under this name: asked before it does. Raises NotHost, BadWish,
    DiskNearlyFull."""
    check_host(submitter)
    if not re.fullmatch(MODEL_NAME, name):
        raise BadWish(
            "{name} is no name for a model; permitted are 1 to 64 letters, digits, _ and -, the first a letter or "
            "digit.",
            name=repr(name),
        )
    if size > (most := studio.settings.max_model_bytes):
        raise BadWish(
            "The file has {size} MB; at most {most} MB are taken.", size=f"{size >> 20:,}", most=f"{most >> 20:,}"
        )
    check_room(studio, size)


def import_model(
    studio: Studio, submitter: Submitter, file: Path, *, name: str, licence: str | None = None
) -> TrainedModel:
    """Keep a model trained from captions here or in another studio, or a LoRA of whatever tool, as KIND/NAME.

    licence: of what it was trained on; None: as its file says. Its header is read and nothing of it is run. Raises
    NotHost, BadWish for a file that is none of them, NameTaken, DiskNearlyFull, StoreFull, StoreUnavailable, Erased.
    """
    check_import(studio, submitter, name, file.stat().st_size)
    try:
        found = look_at(file)
    except CheckpointDamaged as error:
        raise BadWish("{why}", why=str(error)) from None
    licence = datasets.plain(licence or "") or found.licence
    if len(licence) > MAX_LICENCE:
        raise BadWish("The licence has {given} characters; at most {most}.", given=len(licence), most=MAX_LICENCE)
    whole = f"{found.kind}/{name}"
    model_names.check_free(studio, whole)
    return trained.bring(
        studio.db,
        studio.store,
        file,
        name=whole,
        licence=licence,
        submitter=submitter.id,
        card=found.card,
    )


def remove_model(studio: Studio, submitter: Submitter, name: str) -> TrainedModel:
    """Remove a model that was brought as a file; jobs that still want to draw with it fail. What it was.

    Raises NotHost, UnknownArtefact, BadValue for one that a run has made, StoreUnavailable.
    """
    check_host(submitter)
    found = train.model(studio, submitter, name)
    if found.job_id is not None:
        raise BadValue(f"{name} was made by the run {found.job_id}, and goes when that job is deleted.")
    if trained.remove(studio.db, studio.store, name) is None:
        raise UnknownArtefact("There is no trained model {name!r}.", name=name)
    return found
