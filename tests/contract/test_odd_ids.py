"""A text that is no id of ours is answered as an id that nothing has, whatever characters it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from db import artefacts, queue, votes
from db.errors import UnknownArtefact, UnknownJob, UnknownKey, UnknownRefinement, UnknownSubmission
from db.jobs import new_id
from db.rules import keys
from db.sheets import refinements, submissions

LOOKED_UP: dict[str, tuple[type[Exception], Callable[[sa.Engine, str], Any]]] = {
    "a job": (UnknownJob, queue.get),
    "what happened to a job": (UnknownJob, queue.events),
    "a file": (UnknownArtefact, artefacts.get),
    "a sheet": (UnknownSubmission, submissions.get),
    "a refinement": (UnknownRefinement, refinements.get),
    "a mark": (UnknownJob, lambda db, text: refinements.mark(db, new_id(), text, True)),
    "a key": (UnknownKey, keys.revoke),
    "a vote": (UnknownJob, lambda db, text: votes.cast(db, voter="a", left_id=text, right_id=new_id(), choice="tie")),
}


@pytest.mark.parametrize("what", sorted(LOOKED_UP))
def test_what_no_database_can_hold_is_not_looked_up(database: sa.Engine, what: str) -> None:
    error, look = LOOKED_UP[what]
    for text in ("", "nope", f"{new_id()[:-1]}\x00", f"{new_id()[:-1]}\ud800", f"{new_id()}\n", "x" * 100_000):
        with pytest.raises(error):
            look(database, text)
