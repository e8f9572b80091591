"""What the host may do. Each of these refuses everybody else by itself: see `access.host_only`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from db import forgetting, queue, rules, visitors
from db.errors import BadValue
from db.evening import Exported, Wanted, write_evening
from db.forgetting import Forgotten
from generator import registry
from pages.hosting.access import host_only
from pages.shared.engines import engine_title
from pages.shared.files import forget_files
from pages.shared.studio import the_studio

CONFIRMATION = "DELETE"
LONGEST_TITLE = 100
_EXPORT = re.compile(r"evening-[0-9-]+\.zip")


@host_only
def pause() -> None:
    """Executors finish what they have and claim nothing."""
    rules.change(the_studio().db, paused=True)


@host_only
def resume() -> None:
    """Executors claim again."""
    rules.change(the_studio().db, paused=False)


@host_only
def to_front(job_id: str) -> None:
    """A waiting job is served next."""
    queue.to_front(the_studio().db, job_id)


@host_only
def cancel(job_id: str) -> None:
    """Anybody's job ends."""
    queue.request_cancel(the_studio().db, job_id)


@host_only
def hide(job_id: str) -> None:
    """A picture is gone from gallery, votes, sheets and lineage, enlarged as well."""
    queue.set_hidden(the_studio().db, job_id, copies=_enlarging())


@host_only
def unhide(job_id: str) -> None:
    """A hidden picture is shown again."""
    queue.set_hidden(the_studio().db, job_id, hidden=False, copies=_enlarging())


def _enlarging() -> list[str]:
    return [name for name, spec in registry.ENGINES.items() if spec.makes == "picture"]


@host_only
def ban(visitor: str, hide_pictures: bool = False) -> None:
    """A visitor may neither queue nor vote; what they have in progress ends."""
    visitors.ban(the_studio().db, visitor, hide=hide_pictures, copies=_enlarging())


@host_only
def lift_ban(visitor: str) -> None:
    """A visitor may come back."""
    visitors.lift_ban(the_studio().db, visitor)


@host_only
def set_limits(max_queued: int | None, max_per_hour: int | None) -> None:
    """What one visitor may have waiting and ask for in an hour; None: as configured. Raises BadValue."""
    rules.change(the_studio().db, max_queued=max_queued, max_per_hour=max_per_hour)


@host_only
def set_words(typed: str) -> None:
    """The refused words, one a line or with commas between them. Raises BadValue."""
    rules.change(the_studio().db, refused_words=rules.words_of(typed) or None)


@host_only
def set_engines(shown: Sequence[str], default_engine: str, default_checkpoint: str) -> None:
    """Which engines visitors see and what a new page shows first. Raises BadValue."""
    for name in (*shown, default_engine):
        registry.lookup("engine", registry.ENGINES, name)
    if default_engine not in shown or registry.ENGINES[default_engine].makes != "drawing":
        raise BadValue(f"{engine_title(default_engine)} is what a new page starts with, so visitors must see it.")
    withheld = [name for name in offered() if name not in shown]
    rules.change(
        the_studio().db,
        withheld=withheld or None,
        default_engine=default_engine,
        default_checkpoint=default_checkpoint or None,
    )


def offered() -> list[str]:
    """The engines that may be withheld; downloads are allowed by T2I_DOWNLOADS alone."""
    return [name for name in registry.ENGINES if name != "download"]


@host_only
def export(title: str, hours: float | None) -> tuple[Path, Exported]:
    """Write the zip of the last `hours`, None: of everything. Raises StoreFull, StoreUnavailable."""
    titles = {name: spec.title for name, spec in registry.ENGINES.items()}
    results = tuple(name for name, spec in registry.ENGINES.items() if spec.makes == "result")
    since = None if hours is None else time.time() - hours * 3600
    folder = the_studio().settings.exports_dir
    target = folder / time.strftime("evening-%Y%m%d-%H%M%S.zip", time.gmtime())
    wanted = Wanted(title.strip()[:LONGEST_TITLE] or "Pictures", titles, results, since)
    return target, write_evening(the_studio().db, the_studio().store, target, wanted)


@host_only
def exports() -> list[Path]:
    """The zips that have been written, the newest first."""
    found = the_studio().settings.exports_dir.glob("evening-*.zip")
    return sorted((path for path in found if _EXPORT.fullmatch(path.name)), reverse=True)


@host_only
def read_export(name: str) -> Callable[[], bytes]:
    """What reads one zip when the host's browser fetches it, by then outside the session. BadValue for other files."""
    return _export(name).read_bytes


@host_only
def delete_export(name: str) -> None:
    """Remove one zip. Raises BadValue for any other file."""
    _export(name).unlink()


def _export(name: str) -> Path:
    path = the_studio().settings.exports_dir / name
    if not _EXPORT.fullmatch(name) or not path.is_file():
        raise BadValue(f"There is no export called {name!r}.")
    return path


@host_only
def forget(typed: str) -> Forgotten:
    """Delete everything the event has left, once the word is typed. Raises BadValue, StillRunning."""
    if typed.strip() != CONFIRMATION:
        raise BadValue(f"Nothing was deleted: type {CONFIRMATION} to confirm.")
    gone = forgetting.forget_everything(the_studio().db, the_studio().store)
    forget_files()
    return gone
