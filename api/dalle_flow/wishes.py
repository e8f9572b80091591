"""What a Document asks for, as wishes: pictures of its text, or variations of its picture."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api import models, pictures
from api.dalle_flow.parameters import STABLE, Parameters
from api.dalle_flow.wire import Sent
from api.sizes import drawn_at
from db import artefacts, queue
from db.artefacts import Artefact
from db.errors import SourceHidden, UnknownArtefact
from db.jobs import Job
from generator import registry
from generator.checkpoints.inventory import first_installed
from generator.params import BadParams
from generator.params.vary import varied
from studio import access
from studio.context import Studio, Submitter
from studio.given import taken_over
from studio.limits import engines_that_vary
from studio.submit import MAX_PICTURES, Wish
from studio.uploads import Upload
from studio.vary import drawing_of

SKIP_RATE, STRENGTH = 0.5, 0.75


@dataclass(frozen=True)
class Picture:
    """The picture of a Document: one of the studio's, or a file sent along."""

    ours: tuple[Job, Artefact] | None
    upload: Upload | None = None

    @property
    def named(self) -> str:
        """What a setting is given for it; for a file something that `Wish` replaces."""
        return self.ours[1].id if self.ours else "upload"

    @property
    def rest(self) -> dict[str, Any]:
        """What a wish about it has besides its settings."""
        if self.ours:
            job, picture = self.ours
            return {"parent_id": job.id, "source_artefact_id": picture.id, "repeats": job.params}
        return {"uploads": {"init_image": [self.upload]}}


@dataclass(frozen=True)
class Asked:
    """Wishes, and the size to hand their pictures over at where one was asked for."""

    wishes: list[Wish]
    text: str
    size: tuple[int, int] | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)


def from_text(studio: Studio, sent: Sent, parameters: Parameters) -> Asked:
    """Pictures of the text, by the model named or that a new page shows first. Raises BadParams, UnknownName."""
    engine, checkpoint = models.find(studio, parameters.text("model"))
    values = {"checkpoint": checkpoint, **parameters.settings(engine), "prompt": sent.text or ""}
    return Asked(_each(engine, values, parameters), sent.text or "")


def stable(studio: Studio, sent: Sent, parameters: Parameters) -> Asked:
    """Pictures of the text by Stable Diffusion, or by the embedded latent diffusion where it is not installed."""
    checkpoint, size = stable_checkpoint(studio), parameters.size()
    values = {"checkpoint": checkpoint, "prompt": sent.text or "", **parameters.stable()}
    if size is not None:
        values |= drawn_at(STABLE, checkpoint, *size)
    return Asked(_each(STABLE, values, parameters), sent.text or "", size)


def diffusion(studio: Studio, submitter: Submitter, sent: Sent, parameters: Parameters) -> Asked:
    """Variations of the picture: skip_rate of the way from noise is skipped. Without a picture as `from_text`.

    By the engine that drew it, where that can start from a picture. Raises BadParams, and as `studio.access`.
    """
    skip_rate = parameters.number("skip_rate", 0, 1)
    picture = picture_of(studio, submitter, sent)
    if picture is None:
        return from_text(studio, sent, parameters)
    engine, values, text = _kept(studio, submitter, picture, sent)
    values = {**values, **parameters.settings(engine)}
    values = varied(engine, values, picture.named, SKIP_RATE if skip_rate is None else skip_rate)
    return Asked(_each(engine, values, parameters, picture), text)


def stable_diffuse(studio: Studio, submitter: Submitter, sent: Sent, parameters: Parameters) -> Asked:
    """The picture drawn anew after a text: `strength` of the way. Raises BadParams where there is no picture."""
    picture = needed(picture_of(studio, submitter, sent), "/stablediffuse")
    text = parameters.text("prompt") or sent.text or ""
    strength = parameters.number("strength", 0.01, 1)
    values = {
        "checkpoint": stable_checkpoint(studio),
        "prompt": text,
        "init_image": picture.named,
        "strength": STRENGTH if strength is None else strength,
        **parameters.stable(),
    }
    return Asked(_each(STABLE, values, parameters, picture), text)


def stable_checkpoint(studio: Studio) -> str:
    """Stable Diffusion 1.5 where the host has it, else the embedded model."""
    names = "stable-diffusion-1-5", registry.ENGINES[STABLE].checkpoints[0]
    return first_installed(names, studio.settings.checkpoints_dir)


def best_upscaler(studio: Studio) -> str:
    """SwinIR-L, as DALL-E Flow has it, where the host has it; else the embedded one."""
    return first_installed(("swinir-l", registry.ENGINES["upscale"].checkpoints[0]), studio.settings.checkpoints_dir)


def picture_of(studio: Studio, submitter: Submitter, sent: Sent) -> Picture | None:
    """The picture of a Document; None where it has none. Raises BadParams where it is no picture, SourceHidden.

    Matches are named by the ids of our pictures: where the bytes are still those, it is ours and the lineage goes on.
    """
    if sent.uri is not None and not sent.uri.startswith("data:"):
        raise BadParams("uri: the picture itself is needed, as a data URI; addresses and paths are not followed.")
    upload = pictures.decoded("uri", sent.uri) if sent.uri else None
    if upload is None and sent.blob:
        upload = pictures.decoded("blob", sent.blob)
    sha256 = hashlib.sha256(upload.data).hexdigest() if upload else None
    ours = _ours(studio, submitter, sent.id, sha256)
    if ours:
        return Picture(ours)
    return None if upload is None else Picture(None, upload)


def needed(picture: Picture | None, endpoint: str) -> Picture:
    """Raises BadParams where there is no picture."""
    if picture is None:
        raise BadParams(f"{endpoint} needs a Document with a picture: its uri as a data URI.")
    return picture


def _ours(
    studio: Studio, submitter: Submitter, artefact_id: str | None, sha256: str | None
) -> tuple[Job, Artefact] | None:
    if artefact_id is None:
        return None
    try:
        found = artefacts.get(studio.db, artefact_id)
    except UnknownArtefact:
        return None
    if found.job_id is None or found.kind != "picture" or (sha256 and found.sha256 != sha256):
        return None
    job = queue.get(studio.db, found.job_id)
    if not access.may_see(submitter, job):
        raise SourceHidden
    if access.shows_what_was_given(job):  # then it is sent along as a picture of theirs once more
        return None
    return job, found


def _kept(studio: Studio, submitter: Submitter, picture: Picture, sent: Sent) -> tuple[str, dict[str, Any], str]:
    """Engine, settings and text of a variation: of one of ours all it was drawn with, but for another text."""
    varying = engines_that_vary(studio)
    if not varying:
        raise BadParams("The host offers no engine that can start from a picture.")
    if picture.ours:
        drawing = drawing_of(studio, picture.ours[0])
        text = sent.text or drawing.prompt
        worded = (drawing.params.get("wording") or {}).get("prompt")
        if worded and worded["typed"] == text:
            text = drawing.prompt  # a client sends back the text it had asked for; what was drawn of it stays
        if drawing.engine in varying:
            settings = taken_over(studio, submitter, drawing).params
            return drawing.engine, {**settings, "prompt": text, "seed": None}, text
        return varying[0], {"prompt": text}, text
    first = models.first_model(studio)
    engine, checkpoint = first if first[0] in varying else (varying[0], None)
    named = {"checkpoint": checkpoint} if checkpoint else {}
    return engine, {**named, "prompt": sent.text or ""}, sent.text or ""


def _each(engine: str, values: Mapping[str, Any], parameters: Parameters, picture: Picture | None = None) -> list[Wish]:
    """So many pictures as wishes of at most MAX_PICTURES; a seed that is given goes on from one to the next."""
    wishes, rest = [], picture.rest if picture else {}
    for begun in range(0, parameters.images, MAX_PICTURES):
        count = min(parameters.images - begun, MAX_PICTURES)
        seed = values.get("seed")
        own = {"seed": (seed + begun) % 2**32} if isinstance(seed, int) else {}
        wishes.append(Wish(engine, {**values, **own}, count, **rest))
    return wishes
