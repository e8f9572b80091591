"""What the host may do. Each of these refuses everybody else by itself, before it does anything."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from db import queue
from db.errors import BadValue
from db.evening import erasing, moderation
from db.evening.archive import Exported, Wanted, write_evening
from db.evening.erasing import Forgotten
from db.evening.moderation import Visitor
from db.evening.usage import Usage
from db.evening.usage import usage as usage_of
from db.rules import host_rules
from generator import registry
from studio.access import check_host
from studio.context import Studio, Submitter
from studio.engines import engine_title, engines_making

CONFIRMATION = "DELETE"
MAX_TITLE_LENGTH = 100
_EXPORT = re.compile(r"evening-[0-9-]+\.zip")


def pause(studio: Studio, submitter: Submitter) -> None:
    """Executors finish what they have and claim nothing."""
    check_host(submitter)
    host_rules.change(studio.db, paused=True)


def resume(studio: Studio, submitter: Submitter) -> None:
    """Executors claim again."""
    check_host(submitter)
    host_rules.change(studio.db, paused=False)


def to_front(studio: Studio, submitter: Submitter, job_id: str) -> None:
    """A waiting job is served next."""
    check_host(submitter)
    queue.to_front(studio.db, job_id)


def cancel(studio: Studio, submitter: Submitter, job_id: str) -> None:
    """Anybody's job ends."""
    check_host(submitter)
    queue.request_cancel(studio.db, job_id)


def hide(studio: Studio, submitter: Submitter, job_id: str) -> None:
    """A picture is gone from gallery, votes, sheets and lineage, upscaled as well."""
    check_host(submitter)
    queue.set_hidden(studio.db, job_id, copies=engines_making("picture"))


def unhide(studio: Studio, submitter: Submitter, job_id: str) -> None:
    """A hidden picture is shown again."""
    check_host(submitter)
    queue.set_hidden(studio.db, job_id, hidden=False, copies=engines_making("picture"))


def recent_visitors(studio: Studio, submitter: Submitter, *, limit: int = 50) -> list[Visitor]:
    """Who has asked for pictures, the last one first, and everybody who is banned."""
    check_host(submitter)
    return moderation.recent(studio.db, limit=limit)


def ban(studio: Studio, submitter: Submitter, visitor: str, hide_pictures: bool = False) -> None:
    """A visitor may neither queue nor vote; what they have in progress ends."""
    check_host(submitter)
    moderation.ban(studio.db, visitor, hide=hide_pictures, copies=engines_making("picture"))


def lift_ban(studio: Studio, submitter: Submitter, visitor: str) -> None:
    """A visitor may come back."""
    check_host(submitter)
    moderation.lift_ban(studio.db, visitor)


def set_limits(studio: Studio, submitter: Submitter, max_queued: int | None, max_per_hour: int | None) -> None:
    """What one visitor may have waiting and ask for in an hour; None: as configured. Raises BadValue."""
    check_host(submitter)
    host_rules.change(studio.db, max_queued=max_queued, max_per_hour=max_per_hour)


def set_words(studio: Studio, submitter: Submitter, typed: str) -> None:
    """The refused words, one a line or with commas between them. Raises BadValue."""
    check_host(submitter)
    host_rules.change(studio.db, refused_words=host_rules.words_of(typed) or None)


def set_engines(
    studio: Studio, submitter: Submitter, shown: Sequence[str], default_engine: str, default_checkpoint: str
) -> None:
    """Which engines visitors see and what a new page shows first. Raises BadValue."""
    check_host(submitter)
    for name in (*shown, default_engine):
        registry.lookup("engine", registry.ENGINES, name)
    if default_engine not in shown or registry.ENGINES[default_engine].makes != "drawing":
        raise BadValue(f"{engine_title(default_engine)} is what a new page starts with, so visitors must see it.")
    withheld = [name for name in may_be_withheld() if name not in shown]
    host_rules.change(
        studio.db,
        withheld=withheld or None,
        default_engine=default_engine,
        default_checkpoint=default_checkpoint or None,
    )


def may_be_withheld() -> list[str]:
    """The engines that the host decides about; downloads are allowed by T2I_DOWNLOADS alone."""
    return [name for name in registry.ENGINES if name != "download"]


def usage(studio: Studio, submitter: Submitter) -> Usage:
    """What is kept on disk."""
    check_host(submitter)
    return usage_of(studio.db, studio.store)


def export(studio: Studio, submitter: Submitter, title: str, hours: float | None) -> tuple[Path, Exported]:
    """Write the zip of the last `hours`, None: of everything. Raises StoreFull, StoreUnavailable."""
    check_host(submitter)
    titles = {name: spec.title for name, spec in registry.ENGINES.items()}
    since = None if hours is None else time.time() - hours * 3600
    target = studio.settings.exports_dir / time.strftime("evening-%Y%m%d-%H%M%S.zip", time.gmtime())
    wanted = Wanted(title.strip()[:MAX_TITLE_LENGTH] or "Pictures", titles, tuple(engines_making("result")), since)
    return target, write_evening(studio.db, studio.store, target, wanted)


def exports(studio: Studio, submitter: Submitter) -> list[Path]:
    """The zips that have been written, the newest first."""
    check_host(submitter)
    found = studio.settings.exports_dir.glob("evening-*.zip")
    return sorted((path for path in found if _EXPORT.fullmatch(path.name)), reverse=True)


def read_export(studio: Studio, submitter: Submitter, name: str) -> Callable[[], bytes]:
    """What reads one zip when the host's browser fetches it, by then outside the session. BadValue for other files."""
    check_host(submitter)
    return _export(studio, name).read_bytes


def delete_export(studio: Studio, submitter: Submitter, name: str) -> None:
    """Remove one zip. Raises BadValue for any other file."""
    check_host(submitter)
    _export(studio, name).unlink()


def _export(studio: Studio, name: str) -> Path:
    path = studio.settings.exports_dir / name
    if not _EXPORT.fullmatch(name) or not path.is_file():
        raise BadValue(f"There is no export called {name!r}.")
    return path


def forget(studio: Studio, submitter: Submitter, typed: str) -> Forgotten:
    """Delete everything the event has left, once the word is typed. Raises BadValue, StillRunning."""
    check_host(submitter)
    if typed.strip() != CONFIRMATION:
        raise BadValue(f"Nothing was deleted: type {CONFIRMATION} to confirm.")
    return erasing.forget_everything(studio.db, studio.store)
