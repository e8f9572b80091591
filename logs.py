"""The log of a process, one event a line: as key=value, easy to grep, or as a JSON object, easy to collect.

Beside settings.py at the root: executors and the API write the same lines, and neither may import the other. Secrets
are masked in all that is written, see masking.py.
A record's own fields come as `extra={"fields": {...}}`; those that are None are left out.
"""

from __future__ import annotations

import json
import logging
import math
import time
from typing import Any

from characters.brief import in_brief
from masking import masked

MAX_ORIGIN = 200  # lines of a traceback


class KeyValueLines(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO step job=... step=12 steps_per_s=24.1`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it where an exception came from."""
        fields = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        message = " ".join(record.getMessage().splitlines())  # whatever somebody sent makes no line of its own
        line = f"{_at(record)} {record.levelname} {in_brief(masked(message))}{fields}"
        return f"{line}\n{_origin(self, record)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """`{"at": "2026-01-31T12:00:00.000Z", "level": "INFO", "log": "executor", "event": "step", "job": ...}`.

    Times in s, sizes in bytes; a field named as one of the first four has its name with a `_` behind it. Where an
    exception is logged `exception` holds where it came from, so that it is one line as well.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "at": _at(record),
            "level": record.levelname,
            "log": record.name,
            "event": in_brief(masked(record.getMessage())),
        }
        for name, value in _fields(record).items():
            line[f"{name}_" if name in line else name] = _plain(value)
        if record.exc_info:
            line["exception"] = _origin(self, record)
        # Half of a character (a lone surrogate) stays escaped: no encoding could write it.
        return json.dumps(line, ensure_ascii=True, allow_nan=False)


def to_stderr(name: str, *, as_json: bool, level: int = logging.INFO) -> logging.Logger:
    """The logger of this name, which writes to stderr and nowhere else."""
    log = logging.getLogger(name)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else KeyValueLines())
    log.handlers, log.propagate = [handler], False
    log.setLevel(level)
    return log


def _at(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _origin(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Where an exception came from, its last MAX_ORIGIN lines, each in brief."""
    assert record.exc_info
    lines = masked(formatter.formatException(record.exc_info)).split("\n")
    left = [f"... {len(lines) - MAX_ORIGIN} lines before these"] if len(lines) > MAX_ORIGIN else []
    return "\n".join([*left, *(in_brief(line) for line in lines[-MAX_ORIGIN:])])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in getattr(record, "fields", {}).items() if value is not None}


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    text = in_brief(masked(str(value)))
    return text if text and not set(text) & set(' "=\n\r\t') else json.dumps(text, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int) else in_brief(masked(str(value)))
