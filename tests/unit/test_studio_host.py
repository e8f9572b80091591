"""What the host does is refused to everybody else, whichever way they ask."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from db import queue
from db.errors import BadValue
from db.jobs import State
from db.rules import host_rules, visitors
from studio import host
from studio.context import Submitter
from studio.errors import NotHost
from tests.pages.visits import ME, SOMEBODY, Studio

ANNA, HOST = Submitter(ME), Submitter("the-host-the-host", is_host=True)


def asked_of(action: Callable[..., Any]) -> list[inspect.Parameter]:
    """What an action wants to know besides the studio and who asks."""
    return list(inspect.signature(action).parameters.values())[2:]


def test_every_action_of_the_host_is_refused_to_anybody_else(visits: Studio) -> None:
    studio, job = visits.opened(), visits.draw("a red heart", SOMEBODY)
    public = [
        action
        for name, action in vars(host).items()
        if inspect.isfunction(action) and action.__module__ == host.__name__ and not name.startswith("_")
    ]
    guarded = [action for action in public if "submitter" in inspect.signature(action).parameters]
    assert {"pause", "resume", "hide", "cancel", "ban", "export", "read_export", "forget", "set_words"} <= {
        action.__name__ for action in guarded
    }
    before = host_rules.get(visits.db)
    for action in guarded:
        with pytest.raises(NotHost, match="Only the host"):
            action(studio, ANNA, *[job.id for one in asked_of(action) if one.kind is one.POSITIONAL_OR_KEYWORD])
    assert host_rules.get(visits.db) == before and queue.get(visits.db, job.id) == job
    assert {action.__name__ for action in public} - {action.__name__ for action in guarded} == {
        "may_be_withheld",
    }


def test_the_host_ends_anybodys_job_and_closes_the_queue_to_them(visits: Studio) -> None:
    studio, job = visits.opened(), visits.enqueue("a red heart", SOMEBODY)
    host.to_front(studio, HOST, job.id)
    host.cancel(studio, HOST, job.id)
    assert queue.get(visits.db, job.id).state == State.CANCELLED
    host.ban(studio, HOST, SOMEBODY, True)
    assert queue.get(visits.db, job.id).hidden
    assert [visitor.banned_at is not None for visitor in host.recent_visitors(studio, HOST)] == [True]
    host.lift_ban(studio, HOST, SOMEBODY)
    visitors.check(visits.db, SOMEBODY)


def test_a_new_page_starts_with_an_engine_that_visitors_see(visits: Studio) -> None:
    with pytest.raises(BadValue, match=r"VQGAN \+ CLIP is what a new page starts with"):
        host.set_engines(visits.opened(), HOST, ["latent-diffusion"], "vqgan-clip", "mini")


def test_only_zips_of_evenings_are_read_and_deleted(visits: Studio, tmp_path_factory: pytest.TempPathFactory) -> None:
    studio = visits.opened(exports_dir=tmp_path_factory.mktemp("exports"))
    visits.draw("a red heart")
    path, done = host.export(studio, HOST, "An evening", None)
    assert done.pictures == 1 and host.exports(studio, HOST) == [path]
    for name in ("../settings.py", "evening-.zip", "jobs.db"):
        with pytest.raises(BadValue, match="There is no export"):
            host.delete_export(studio, HOST, name)
    assert host.read_export(studio, HOST, path.name)().startswith(b"PK")
    host.delete_export(studio, HOST, path.name)
    assert host.exports(studio, HOST) == []
