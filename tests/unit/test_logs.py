"""One event a line, as people grep it or as a collector reads it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import logs


@pytest.fixture
def written() -> Iterator[Any]:
    """Sets up the log of this name in one of both forms; what it has written."""
    out = io.StringIO()

    def set_up(as_json: bool) -> tuple[logging.Logger, io.StringIO]:
        log = logs.to_stderr("test_logs", as_json=as_json)
        handler = log.handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(out)
        return log, out

    yield set_up
    logging.getLogger("test_logs").handlers = []


def test_fields_stand_behind_the_event(written: Any) -> None:
    log, out = written(False)
    fields = {"job": "0a1b", "step": 12, "steps_per_s": 24.123456, "error": 'no "room"', "score": None, "jobs": [1, 2]}
    log.info("step", extra={"fields": fields})
    line = out.getvalue()
    assert line.endswith(' INFO step job=0a1b step=12 steps_per_s=24.12 error="no \\"room\\"" jobs=1,2\n')


def test_each_line_is_one_object_with_numbers_as_numbers(written: Any) -> None:
    log, out = written(True)
    log.info("step", extra={"fields": {"step": 12, "steps_per_s": 24.123456, "score": None, "jobs": ["a"], "ok": True}})
    log.warning("odd\n%s", "line", extra={"fields": {"event": "x", "loss": float("nan"), "path": "\ud800\n"}})
    try:
        raise ValueError("a\nreason")
    except ValueError as error:
        log.error("engine_error", exc_info=error)
    first, second, third = (json.loads(line) for line in out.getvalue().splitlines())
    assert first.pop("at").endswith("Z")
    assert first == {
        "level": "INFO",
        "log": "test_logs",
        "event": "step",
        "step": 12,
        "steps_per_s": 24.12,
        "jobs": ["a"],
        "ok": True,
    }
    assert second["event"] == "odd\nline" and second["event_"] == "x" and second["loss"] == "nan"
    assert third["exception"].startswith("Traceback") and third["exception"].endswith("ValueError: a\nreason")
