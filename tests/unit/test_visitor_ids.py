"""A visitor's id is made by the server and signed: nobody chooses one, invents one or changes its age."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from itsdangerous import TimestampSigner

from db import queue
from studio import visitor_ids
from studio.addresses import stand_in
from tests.pages.visits import ME, SOMEBODY, Studio

SECRET, OTHER = b"s" * 32, b"o" * 32


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path)
    yield made
    made.db.dispose()


def test_what_was_issued_is_read_with_the_time_of_issue() -> None:
    found = visitor_ids.read(SECRET, visitor_ids.signed(SECRET, ME))
    assert found is not None and found.id == ME
    assert found.since is not None and abs(time.time() - found.since) < 60


def test_nothing_else_is_read() -> None:
    good = visitor_ids.signed(SECRET, ME)
    _, stamp, signature = good.split(".")
    older = base64.urlsafe_b64encode((10**9).to_bytes(4)).decode().rstrip("=")
    for wrong in (
        None,
        "",
        ME,
        f"{ME}.",
        f"{ME}..",
        f"{SOMEBODY}.{stamp}.{signature}",
        f"{ME}.{older}.{signature}",
        f"{ME}.{stamp}.{signature[:-1]}",
        f"{ME}.{stamp}.{signature}\u00e9",
        good + "a",
        good * 9,
        visitor_ids.signed(OTHER, ME),
        TimestampSigner(SECRET, salt="something else").sign(ME).decode(),
    ):
        assert visitor_ids.read(SECRET, wrong) is None, wrong


def test_every_web_app_on_a_database_reads_the_same_ids(studio: Studio) -> None:
    from db.rules.salt import salt

    assert visitor_ids.read(salt(studio.db), visitor_ids.signed_for(studio.db, ME)) is not None


def test_who_was_here_before_ids_were_signed_stays_that_visitor(studio: Studio) -> None:
    assert visitor_ids.adopted(studio.db, ME) is None
    job = studio.enqueue("a heart")
    assert job.submitter == ME
    assert visitor_ids.adopted(studio.db, ME) == visitor_ids.Issued(ME, None)
    for other in (None, "", SOMEBODY, "short", f"{ME}!", "key:0123456789abcdef"):
        assert visitor_ids.adopted(studio.db, other) is None


def test_an_id_that_came_since_is_not_adopted_without_its_signature(studio: Studio) -> None:
    new = queue.NewJob(engine="e", checkpoint="c", batch_key="b", prompt="p", params={}, total_steps=1)
    queue.enqueue(studio.db, new, submitter=ME, order=queue.Order(address="somewhere"))
    assert visitor_ids.adopted(studio.db, ME) is None


def test_addresses_are_kept_as_what_cannot_be_turned_back() -> None:
    assert stand_in("192.0.2.1", SECRET) == stand_in("::ffff:192.0.2.1", SECRET) != stand_in("192.0.2.2", SECRET)
    assert (
        stand_in("2001:db8::1", SECRET) == stand_in("2001:db8::ffff:1", SECRET) != stand_in("2001:db8:0:1::1", SECRET)
    )
    assert stand_in("127.0.0.1", SECRET) == stand_in("::1", SECRET) == stand_in("127.0.0.2", SECRET)
    assert stand_in("192.0.2.1", SECRET) != stand_in("192.0.2.1", OTHER)
    assert stand_in("unknown", SECRET) is stand_in(None, SECRET) is stand_in("", SECRET) is None
    assert "192" not in str(stand_in("192.0.2.1", SECRET))
