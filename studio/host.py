"""What the host may do. Each of these refuses everybody else by itself, before it does anything."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from characters.brief import Term
from characters.seen import as_seen
from db import queue
from db.errors import BadValue, UnknownExport, UnknownVisitor
from db.evening import erasing, moderation, retention, tables
from db.evening.archive import Exported, Wanted, write_evening
from db.evening.erasing import Forgotten, Left
from db.evening.moderation import Visitor
from db.evening.retention import Due
from db.evening.usage import Usage
from db.evening.usage import usage as usage_of
from db.jobs import check_text
from db.rules import host_rules
from db.rules.host_rules import Rules
from generator import registry
from studio import made_with_ai
from studio.access import check_host, shows_what_was_given
from studio.context import Studio, Submitter
from studio.engines import engine_title, engines_making
from studio.settings_form import checkpoints

CONFIRMATION = "DELETE"
MAX_TITLE_LENGTH = 100
MAX_LOOKED_AT = 1000  # visitors among whom one is found by a name that leads nowhere
_EXPORT = re.compile(r"evening-[0-9-]{1,40}\.zip")


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
    """A hidden picture is shown again. Raises BadValue for one that somebody sent along and had made larger."""
    check_host(submitter)
    if shows_what_was_given(queue.get(studio.db, job_id)):
        raise BadValue("This is a picture that somebody gave, larger: nobody else is shown it.")
    queue.set_hidden(studio.db, job_id, hidden=False, copies=engines_making("picture"))


def recent_visitors(studio: Studio, submitter: Submitter, *, limit: int = 50) -> list[Visitor]:
    """Who has asked for pictures, the last one first, and everybody who is banned."""
    check_host(submitter)
    return moderation.recent(studio.db, limit=limit)


def visitor_called(studio: Studio, submitter: Submitter, alias: str) -> Visitor:
    """The one of the recent visitors whom `tables.alias` calls so. Raises UnknownVisitor."""
    check_host(submitter)
    for visitor in moderation.recent(studio.db, limit=MAX_LOOKED_AT):
        if tables.alias(visitor.id) == alias:
            return visitor
    raise UnknownVisitor(alias)


def ban(studio: Studio, submitter: Submitter, visitor: str, hide_pictures: bool = False) -> None:
    """A visitor may neither queue nor vote; what they have in progress ends."""
    check_host(submitter)
    moderation.ban(studio.db, visitor, hide=hide_pictures, copies=engines_making("picture"))


def lift_ban(studio: Studio, submitter: Submitter, visitor: str) -> None:
    """A visitor may come back."""
    check_host(submitter)
    moderation.lift_ban(studio.db, visitor)


def set_limits(studio: Studio, submitter: Submitter, **limits: float | None) -> None:
    """What may wait and be asked for in an hour, and what one job may cost, by the names of host_rules.LIMITS; None: as
    configured. max_job_s: in s of an executor that works on nothing else, 0: no limit.

    Raises BadValue.
    """
    check_host(submitter)
    host_rules.change(studio.db, **{name: limits.get(name) for name in host_rules.LIMITS})


def set_event_code(studio: Studio, submitter: Submitter, typed: str) -> None:
    """The code that visitors show once; empty: as configured. Raises BadValue."""
    check_host(submitter)
    host_rules.change(studio.db, event_code=typed.strip() or None)


def set_words(studio: Studio, submitter: Submitter, typed: str) -> None:
    """The refused words, one a line or with commas between them. Raises BadValue."""
    check_host(submitter)
    host_rules.change(studio.db, refused_words=host_rules.words_of(typed) or None)


def set_training(studio: Studio, submitter: Submitter, allowed: bool | None) -> None:
    """Whether visitors may have models trained; None: as configured. Runs that wait or learn by then go on."""
    check_host(submitter)
    host_rules.change(studio.db, train=allowed)


def set_engines(
    studio: Studio, submitter: Submitter, shown: Sequence[str], default_engine: str, default_checkpoint: str
) -> None:
    """Which engines visitors see and what a new page shows first. Raises BadValue."""
    check_host(submitter)
    host_rules.change(
        studio.db,
        withheld=_withheld(shown, default_engine),
        default_engine=default_engine,
        default_checkpoint=default_checkpoint or None,
    )


@dataclass(frozen=True)
class NewRules:
    """All that the host sets, at once. None: as configured. shown: the engines that visitors may use."""

    max_queued: int | None
    max_per_hour: int | None
    refused_words: Sequence[str]
    shown: Sequence[str]
    default_engine: str | None
    default_checkpoint: str | None
    max_queued_per_address: int | None = None
    max_per_hour_per_address: int | None = None
    max_queued_in_all: int | None = None
    event_code: str | None = None
    max_job_s: float | None = None
    train: bool | None = None
    wall_approval: bool = False


def set_rules(studio: Studio, submitter: Submitter, wanted: NewRules) -> Rules:
    """Set all of them or none; the rules as they are then. Raises BadValue, UnknownName."""
    check_host(submitter)
    first = wanted.default_engine or studio.settings.default_engine
    withheld = _withheld(wanted.shown, first)
    if wanted.default_checkpoint is not None:
        registry.lookup("checkpoint", dict.fromkeys(checkpoints(studio, first)), wanted.default_checkpoint)
    return host_rules.change(
        studio.db,
        **{name: getattr(wanted, name) for name in host_rules.LIMITS},
        event_code=wanted.event_code,
        train=wanted.train,
        wall_approval=wanted.wall_approval,
        refused_words=host_rules.words_of("\n".join(wanted.refused_words)) or None,
        withheld=withheld,
        default_engine=wanted.default_engine,
        default_checkpoint=wanted.default_checkpoint,
    )


def _withheld(shown: Sequence[str], first: str) -> list[str] | None:
    for name in (*shown, first):
        registry.lookup("engine", registry.ENGINES, name)
    if first not in shown or registry.ENGINES[first].makes != "drawing":
        raise BadValue(
            "{engine} is what a new page starts with, so visitors must see it.", engine=Term(engine_title(first))
        )
    return [name for name in may_be_withheld() if name not in shown] or None


def may_be_withheld() -> list[str]:
    """The engines that the host decides about; downloads are allowed by T2I_DOWNLOADS alone."""
    return [name for name in registry.ENGINES if name != "download"]


def usage(studio: Studio, submitter: Submitter) -> Usage:
    """What is kept on disk."""
    check_host(submitter)
    return usage_of(studio.db, studio.store)


def set_retention(
    studio: Studio,
    submitter: Submitter,
    keep_days: int | None,
    keep_gb: int | None,
    keep_favourites: int | None = None,
) -> None:
    """How long pictures are kept, and how much of them; None: for good, all. keep_favourites: how many of each visitor
    are spared; None: host_rules.KEEP_FAVOURITES. Raises BadValue."""
    check_host(submitter)
    host_rules.change(studio.db, keep_days=keep_days, keep_gb=keep_gb, keep_favourites=keep_favourites)


def due(studio: Studio, submitter: Submitter) -> Due:
    """What goes by that at the next sweep."""
    check_host(submitter)
    return retention.due(studio.db)


def export(studio: Studio, submitter: Submitter, title: str, hours: float | None) -> tuple[Path, Exported]:
    """Write the zip of the last `hours`, None: of everything. Raises StoreFull, StoreUnavailable, BadValue."""
    check_host(submitter)
    check_text("title", title)
    titles = {name: spec.title for name, spec in registry.ENGINES.items()}
    since = None if hours is None else time.time() - hours * 3600
    target = studio.settings.exports_dir / time.strftime("evening-%Y%m%d-%H%M%S.zip", time.gmtime())
    shown = as_seen(title).strip()[:MAX_TITLE_LENGTH] or "Pictures"
    wanted = Wanted(shown, titles, tuple(engines_making("result")), since, made_with_ai.note(studio.settings))
    return target, write_evening(studio.db, studio.store, target, wanted)


def exports(studio: Studio, submitter: Submitter) -> list[Path]:
    """The zips that have been written, the newest first."""
    check_host(submitter)
    found = studio.settings.exports_dir.glob("evening-*.zip")
    return sorted((path for path in found if _EXPORT.fullmatch(path.name)), reverse=True)


def read_export(studio: Studio, submitter: Submitter, name: str) -> Callable[[], bytes]:
    """What reads one zip when the host's browser fetches it, by then outside the session. Raises UnknownExport."""
    check_host(submitter)
    return _export(studio, name).read_bytes


def export_path(studio: Studio, submitter: Submitter, name: str) -> Path:
    """Where one zip is. Raises UnknownExport for any other file."""
    check_host(submitter)
    return _export(studio, name)


def delete_export(studio: Studio, submitter: Submitter, name: str) -> None:
    """Remove one zip. Raises UnknownExport for any other file."""
    check_host(submitter)
    _export(studio, name).unlink(missing_ok=True)


def _export(studio: Studio, name: str) -> Path:
    if not _EXPORT.fullmatch(name) or not (studio.settings.exports_dir / name).is_file():
        raise UnknownExport(name)
    return studio.settings.exports_dir / name


def forget(studio: Studio, submitter: Submitter, typed: str, *, with_exports: bool = False) -> Forgotten:
    """Delete everything the event has left, once the word is typed; with_exports: the zips of it as well.

    `left` says what is still there. Raises BadValue, StillRunning.
    """
    check_host(submitter)
    if typed.strip() != CONFIRMATION:
        raise BadValue("Nothing was deleted: type {word} to confirm.", word=CONFIRMATION)
    gone = erasing.forget_everything(studio.db, studio.store)
    folder = studio.settings.exports_dir
    for path in (*folder.glob(".evening-*.part"), *(folder.glob("evening-*.zip") if with_exports else ())):
        path.unlink(missing_ok=True)
    return gone


def left(studio: Studio, submitter: Submitter) -> Left:
    """What is still there of what was deleted last, by looking again: in database, store, work folders."""
    check_host(submitter)
    return erasing.left(studio.db, studio.store)


def write_off(studio: Studio, submitter: Submitter, worker_id: str) -> None:
    """An executor's machine is gone or was cleared by hand: nothing is waited for from there."""
    check_host(submitter)
    erasing.write_off(studio.db, worker_id)
