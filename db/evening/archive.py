"""An evening in one zip: pictures, films, settings, votes and a gallery that opens without a server.

Written to disk file by file, so that it needs little memory however much there is. What the host has hidden is left
out; visitors are numbered, since whoever knows a visitor's id could act in that visitor's name.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from db import artefacts
from db.artefacts import Artefact, Store, givers
from db.engine import reading
from db.errors import StoreFull, StoreUnavailable, UnknownArtefact
from db.evening import gallery_html
from db.evening.gallery_html import Entry
from db.jobs import Job, State
from db.queue import listing
from db.rules import visitors
from db.schema import jobs, votes
from db.votes import tallies
from lasting import make_folder, put_in_place

PAGE = 100  # pictures on one page of the gallery
FILMS = ("gif", "webp", "mp4")
FOLDERS = {"picture": "pictures", "thumbnail": "thumbnails"} | dict.fromkeys(FILMS, "films")


@dataclass(frozen=True)
class Exported:
    """What went into the zip; size in bytes."""

    pictures: int
    votes: int
    size: int


@dataclass(frozen=True)
class Wanted:
    """What to export. since: made at this time in UTC s or later, None: all. without: engines that make no picture.
    engine_titles: what to call the engines. note: what the gallery says of all pictures, empty: nothing."""

    title: str
    engine_titles: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    since: float | None = None
    note: str = ""


def write_evening(db: sa.Engine, store: Store, target: Path, wanted: Wanted) -> Exported:
    """Write the finished pictures, newest first, and the votes between them.

    Raises StoreUnavailable, or StoreFull where the disk is; then there is no file at `target`.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        make_folder(target.parent)
        with zipfile.ZipFile(part, "w") as archive:
            out = _Writer(archive, db, store, wanted)
            pictures = out.gallery()
            out.settings()
            cast = out.votes()
        put_in_place(part, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                "There is no space left for the export at {target}; free some disk space.", target=str(target)
            ) from error
        raise StoreUnavailable(
            "The export cannot be written to {target}: {why}.", target=str(target), why=str(error.strerror or error)
        ) from error
    finally:
        with suppress(OSError):  # it may never have come to be
            part.unlink()
    return Exported(pictures, cast, target.stat().st_size)


class _Writer:
    """The archive while it is written, and the number each visitor has in it."""

    def __init__(self, archive: zipfile.ZipFile, db: sa.Engine, store: Store, wanted: Wanted) -> None:
        self.archive, self.db, self.store, self.wanted = archive, db, store, wanted
        self.now = time.time()
        self._numbers: dict[str, int] = {}

    def gallery(self) -> int:
        """The pictures and the pages that show them; how many pictures there are."""
        count, page, pages = 0, 1, self._pages()
        jobs_here = next(pages, [])
        while True:
            following = next(pages, [])
            entries = self._entries(jobs_here)
            html = gallery_html.page(
                self.wanted.title, entries, number=page, last=not following, at=self.now, note=self.wanted.note
            )
            with self._open(gallery_html.file_name(page), self.now) as file:
                file.write(html.encode())
            count += len(entries)
            if not following:
                return count
            jobs_here, page = following, page + 1

    def settings(self) -> None:
        """pictures.json: every picture with all its settings, one a line."""
        with self._open("pictures.json", self.now) as file:
            file.write(b"[")
            separator = b"\n"
            for page in self._pages():
                names = visitors.names(self.db, [job.submitter for job in page])
                params = givers.of_jobs_without(self.db, page)
                for job in page:
                    facts = {**self._facts(job, names), "params": params[job.id]}
                    file.write(separator + json.dumps(facts, ensure_ascii=False).encode())
                    separator = b",\n"
            file.write(b"\n]\n")

    def votes(self) -> int:
        """votes.csv: every vote between two of the pictures; how many there are."""
        first, second = jobs.alias("first"), jobs.alias("second")
        query = (
            sa.select(votes)
            .join(first, first.c.id == votes.c.first_id)
            .join(second, second.c.id == votes.c.second_id)
            .where(first.c.hidden == sa.false(), second.c.hidden == sa.false())
            .order_by(votes.c.id)
            .execution_options(yield_per=1000)
        )
        if self.wanted.since is not None:
            query = query.where(first.c.created_at >= self.wanted.since, second.c.created_at >= self.wanted.since)
        count = 0
        with self._open("votes.csv", self.now) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            table = csv.writer(text)
            table.writerow(("at", "visitor", "left", "right", "winner"))
            with reading(self.db) as conn:
                for row in conn.execute(query):
                    right = row.second_id if row.left_id == row.first_id else row.first_id
                    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row.at))
                    table.writerow((at, self._number(row.voter), row.left_id, right, row.winner_id or "tie"))
                    count += 1
        return count

    def _pages(self) -> Iterator[list[Job]]:
        """The pictures, PAGE at a time, newest first; never an empty page."""
        before: str | None = None
        while True:
            page = listing.list_jobs(
                self.db,
                before_id=before,
                limit=PAGE,
                states=[State.SUCCEEDED],
                without=self.wanted.without,
                since=self.wanted.since,
            )
            if page:
                yield page
            if len(page) < PAGE:
                return
            before = page[-1].id

    def _entries(self, page: list[Job]) -> list[Entry]:
        ids = [job.id for job in page]
        files, counts = artefacts.of_jobs(self.db, ids), tallies(self.db, ids)
        names = visitors.names(self.db, [job.submitter for job in page])
        params = givers.of_jobs_without(self.db, page)
        entries = []
        for job in page:
            stored = {kind: self._copy(job, files[job.id].get(kind)) for kind in FOLDERS}
            entries.append(
                Entry(
                    id=job.id,
                    prompt=job.prompt,
                    by=names.get(job.submitter),
                    engine=self.wanted.engine_titles.get(job.engine, job.engine),
                    picture=stored["picture"],
                    thumbnail=stored["thumbnail"] or stored["picture"],
                    film=next((stored[kind] for kind in FILMS if stored[kind]), None),
                    score=job.score,
                    tally=counts[job.id],
                    params=params[job.id],
                )
            )
        return entries

    def _copy(self, job: Job, artefact: Artefact | None) -> str | None:
        """Put a file of the store into the archive; its name there, None where it is gone."""
        if artefact is None:
            return None
        name = f"{FOLDERS[artefact.kind]}/{job.id}.{artefact.key.rsplit('.', 1)[-1]}"
        try:
            with self.store.open(artefact.key) as source, self._open(name, job.created_at, zipfile.ZIP_STORED) as file:
                shutil.copyfileobj(source, file, 1 << 20)
        except UnknownArtefact:
            return None
        return name

    def _facts(self, job: Job, names: Mapping[str, str]) -> dict[str, Any]:
        return {
            "id": job.id,
            "prompt": job.prompt,
            "engine": job.engine,
            "checkpoint": job.checkpoint,
            "score": job.score,
            "visitor": self._number(job.submitter),
            "by": names.get(job.submitter),
            "made_from": job.parent_id,
            "asked_at": job.created_at,
            "took_s": round(job.taken_s or 0.0, 3),
        }

    def _number(self, visitor: str) -> int:
        return self._numbers.setdefault(visitor, len(self._numbers) + 1)

    def _open(self, name: str, at: float, how: int = zipfile.ZIP_DEFLATED) -> IO[bytes]:
        info = zipfile.ZipInfo(name, time.gmtime(at)[:6])
        info.compress_type = how
        info.external_attr = 0o644 << 16
        return self.archive.open(info, "w", force_zip64=True)
