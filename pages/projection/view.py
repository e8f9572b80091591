"""What the wall shows now, in words and addresses, for the script that draws it (pages/shared/wall.js)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from db import queue
from db.artefacts import Artefact
from db.errors import UnknownJob
from db.evening import wall
from db.jobs import Job, State
from db.votes import Tally
from generator import registry
from pages.projection.direction import Scene, Stage, direct
from pages.ratings import standings
from pages.shared.files import files_of
from pages.shared.language import _, ngettext
from pages.shared.studio import house_rules, the_studio
from pages.shared.text import quoted, short
from pages.shared.visitor import names_of
from studio.engines import engine_title
from studio.wall import may_hang

SHAPES = ((1, 1), (1, 2), (2, 2), (2, 3), (3, 4))  # columns and rows of tiles, the smallest that holds all
MAX_TILES = 12
MAX_RUNNING, MAX_VOTED, MAX_SHOW = 4, 4, 16
MAX_TILE_BYTES, MAX_STAGE_BYTES = 600_000, 8 << 20  # larger pictures are shown by their thumbnails


@dataclass(frozen=True)
class Hanging:
    """All that may hang now. running: how many form, shown or not. group: of each job, what it was asked for with."""

    jobs: dict[str, Job]
    scene: Scene
    votes: dict[str, Tally]
    group: dict[str, str]
    running: int


def look(before: Stage | None) -> Hanging:
    """What there is, in a handful of queries. before: what was on the stage at the last look."""
    db, engines, rules = the_studio().db, registry.drawing_engines(), house_rules()
    running = [job for job in queue.running_jobs(db) if job.engine in engines and not job.hidden]
    forming = [job for job in running if may_hang(rules, job)][: MAX_RUNNING + 1]
    liked = wall.best_voted(db, standings.best_first(db), engines, limit=MAX_SHOW // 2, approved=rules.wall_approval)
    hung = wall.newest(db, engines, limit=MAX_SHOW, approved=rules.wall_approval)
    newest = [one.job for one in hung]
    best = [job for job, _tally in liked]
    jobs = {job.id: job for job in [*forming, *best, *newest]}
    ended = []
    for job_id in {*before.forming, before.job_id or "", *before.premieres} - jobs.keys() if before else ():
        with suppress(UnknownJob):
            job = queue.get(db, job_id)
            if job.state == State.SUCCEEDED and may_hang(rules, job):
                jobs[job.id] = job
                ended.append(job.id)
    group = {one.job.id: one.group for one in hung}
    group |= wall.groups_of(db, [job_id for job_id in jobs if job_id not in group])
    scene = Scene(
        forming=[job.id for job in forming],
        finished=[job.id for job in newest],
        whole=len(newest) < MAX_SHOW,
        show=_one_of_each([*best, *newest], group)[:MAX_SHOW],
        ended=[*ended, *(job.id for job in best if job.id not in {one.id for one in newest})],
    )
    return Hanging(jobs, scene, {job.id: tally for job, tally in liked}, group, len(running))


def _one_of_each(jobs: Sequence[Job], group: Mapping[str, str]) -> list[str]:
    """The first of these jobs of each submission."""
    found: dict[str, str] = {}
    for job in jobs:
        found.setdefault(group[job.id], job.id)
    return list(found.values())


def tiles(hanging: Hanging, stage: Stage, previews: Mapping[str, Mapping[str, Artefact]]) -> dict[str, str]:
    """The jobs beside the stage by submission, one of each at most: what forms, the best-voted, the newest.

    What stands on the stage is not beside it as well, nor what has no picture yet.
    """
    forming = [job_id for job_id in hanging.scene.forming if "preview" in previews.get(job_id, {})]
    best = [job_id for job_id in hanging.votes][:MAX_VOTED]
    found: dict[str, str] = {}
    for job_id in [*forming, *best, *hanging.scene.finished]:
        if job_id != stage.job_id:
            found.setdefault(hanging.group[job_id], job_id)
    on_stage = hanging.group.get(stage.job_id or "")
    if on_stage is not None and stage.kind != "forming":
        found.pop(on_stage, None)
    return dict(list(found.items())[:MAX_TILES])


def arrange(before: Sequence[str | None], wanted: Sequence[str], places: int) -> list[str | None]:
    """Which tile stands where: what stays keeps its place, what is new takes a free one, so that nothing jumps."""
    now: list[str | None] = [group if group in wanted else None for group in before[:places]]
    now += [None] * (places - len(now))
    new = iter(group for group in wanted if group not in now)
    return [next(new, None) if group is None else group for group in now]


def view(
    before: Stage | None, places: Sequence[str | None], now: float
) -> tuple[dict[str, Any], Stage, list[str | None], int]:
    """What the script draws; the stage and the places of the tiles, to be remembered; how many pictures form."""
    hanging = look(before)
    stage = direct(before, hanging.scene, now)
    files = files_of(list(hanging.jobs))
    names = names_of(hanging.jobs.values())
    beside = tiles(hanging, stage, files)
    columns, rows = next(shape for shape in SHAPES if shape[0] * shape[1] >= len(beside))
    places = arrange(places, list(beside), columns * rows)
    told = _Words(hanging, files, names)
    drawn = {
        "calm": stage.kind in ("calm", "empty") and not hanging.running,
        "stage": told.stage(stage),
        "columns": columns,
        "rows": rows,
        "tiles": [None if group is None else told.tile(hanging.jobs[beside[group]], group) for group in places],
    }
    return drawn, stage, list(places), hanging.running


@dataclass(frozen=True)
class _Words:
    hanging: Hanging
    files: Mapping[str, Mapping[str, Artefact]]
    names: Mapping[str, str]

    def stage(self, stage: Stage) -> dict[str, Any]:
        job = self.hanging.jobs.get(stage.job_id or "")
        hidden = self.hanging.running - len(self.hanging.scene.forming)
        # What the host has not let onto the wall is told as a number alone.
        note = ngettext("{n} picture is being drawn", "{n} pictures are being drawn", hidden) if hidden > 0 else ""
        if job is None:
            return {"kind": "empty", "key": "", "prompt": note or _("Your picture could be the first one here.")}
        files = self.files.get(job.id, {})
        film = files.get("mp4") or files.get("webp") or files.get("gif") if stage.kind == "finished" else None
        return {
            "kind": stage.kind,
            "key": job.id,
            "prompt": short(job.prompt, 160),
            "by": self._by(job),
            "about": self._about(job),
            "progress": job.step / job.total_steps if job.state == State.RUNNING else None,
            "picture": _address(_picture(job, files, MAX_STAGE_BYTES)),
            "film": _address(film),
            "video": film is not None and film.kind == "mp4",
            "note": note,
        }

    def tile(self, job: Job, group: str) -> dict[str, Any]:
        forms = job.state == State.RUNNING
        return {
            "key": group,
            "prompt": short(job.prompt, 90),
            "about": " · ".join(part for part in (self._by(job), self._voted(job)) if part),
            "progress": job.step / job.total_steps if forms else None,
            "picture": _address(_picture(job, self.files.get(job.id, {}), MAX_TILE_BYTES)),
        }

    def _by(self, job: Job) -> str:
        name = self.names.get(job.submitter)
        return "" if name is None else _("by {name}", name=quoted(name))

    def _about(self, job: Job) -> str:
        parts = [engine_title(job.engine)]
        if job.state == State.RUNNING:
            parts.append(_("step {step} of {total}", step=job.step, total=job.total_steps))
        return " · ".join(part for part in (*parts, self._voted(job)) if part)

    def _voted(self, job: Job) -> str:
        tally = self.hanging.votes.get(job.id)
        if tally is None:
            return ""
        return _("preferred {wins} of {total} times", wins=tally.wins, total=tally.wins + tally.losses + tally.ties)


def _picture(job: Job, files: Mapping[str, Artefact], max_bytes: int) -> Artefact | None:
    if job.state == State.RUNNING:
        return files.get("preview")
    picture = files.get("picture")
    return files.get("thumbnail", picture) if picture is None or picture.size > max_bytes else picture


def _address(file: Artefact | None) -> str | None:
    """Below that of the wall (api/wall_files.py). The hash makes what has changed another address."""
    return None if file is None else f"files/{file.id}?{file.sha256[:16]}"
