"""Who sends 20 kB gets a sentence, not their 20 kB back: every field, parameter, address and header of every dialect,
and no line of the log is longer for it."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.rules import keys
from logs import JsonLines, KeyValueLines
from tests.api.serving import Served
from tests.pages.visits import Studio

LONG = 20_000  # more than twice of what may be answered
IN_A_LINE = 30_000  # of an address or a header: the server itself refuses those of 64 kB, in a line of its own
MOST_ANSWERED, MOST_LOGGED = 8_000, 5_000
KINDS = ("x" * LONG, 'it\'s "quoted" \\ ' * (LONG // 16), "é\n" * (LONG // 2))
# Bodies that are no form or object of fields, and what they say they are.
WHOLE = (
    *(
        (json.dumps(whole).encode(), "application/json")
        for whole in (KINDS[0], [KINDS[1]], {KINDS[0]: 1}, {"prompt": "a", KINDS[2]: KINDS[1]}, [[[KINDS[0]]]])
    ),
    (b'{"prompt": "' + b"x" * LONG, "application/json"),
    (b"x" * LONG, "multipart/form-data; boundary=x"),
)


def bodies(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(kind of the body, field) of every field at its top, and of those one below."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        for field, below in _fields(document, content["schema"]).items():
            yield kind, field
            for inner in _fields(document, below):
                yield kind, f"{field}.{inner}"


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    fields = dict(schema.get("properties", {}))
    for one in (*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("oneOf", ())):
        fields |= _fields(document, one)
    return fields


@pytest.fixture
def asked(
    serve: Callable[..., Served], visits: Studio, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> Iterator[Any]:
    """Asks, and holds the answer and the log to their bounds."""
    api = serve(api="keys", downloads=True, exports_dir=tmp_path / "exports")
    secret, key = keys.make(visits.db, "long", "host", max_queued=1)
    visits.enqueue("waits", key.submitter)  # so nothing is taken, and no call waits for a picture
    shown = {"authorization": f"Bearer {secret}"}
    caplog.set_level(logging.INFO)
    refused = 0

    def ask(method: str, path: str, **more: Any) -> httpx.Response:
        nonlocal refused
        more["headers"] = shown | more.get("headers", {})
        answer = api.client.request(method, path, **more)
        if answer.status_code >= 400:
            refused += 1
            said = f"{method} {path[:80]} {str(more)[:200]}"
            assert len(answer.content) <= MOST_ANSWERED, f"{said}: {len(answer.content)} bytes: {answer.text[:300]}"
            assert answer.status_code != 500, said
            assert sum(len(name) + len(value) for name, value in answer.headers.multi_items()) <= MOST_ANSWERED, said
        return answer

    ask.document = api.get("/api/openapi.json", headers=shown).json()
    yield ask
    assert refused
    for record in caplog.records:
        for form in (KeyValueLines(), JsonLines()):
            record.exc_info = None
            assert len(form.format(record)) <= MOST_LOGGED, record.name


def routes(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "text/event-stream" not in str(operation.get("responses", {}).get("200", "")) and "/wait" not in path:
                yield method.upper(), path, operation


def test_every_field_of_every_body(asked: Any) -> None:
    count, way = 0, itertools.count()
    for method, path, operation in routes(asked.document):
        address = path.replace("{", "").replace("}", "")
        for n, (kind, field) in enumerate(bodies(asked.document, operation)):
            text = KINDS[n % len(KINDS)]
            outer, _, inner = field.partition(".")
            body: dict[str, Any] = {"prompt": "a red heart", outer: {inner: text} if inner else text}
            if inner and n % 4:
                continue  # the same fields stand in many bodies
            if kind == "application/json":
                asked(method, address, json=body)
                if not inner and n % 4 == 1:
                    asked(method, address, json=body | {outer: [text, {text: text}]})
            elif not inner:
                asked(method, address, data=body)
            count += 1
        if "requestBody" in operation:
            # What is read before a field is, all addresses have in common: each is asked in one of these ways.
            content, headers = WHOLE[next(way) % len(WHOLE)]
            asked(method, address, content=content, headers={"content-type": headers})
    assert count > 100


def test_every_parameter_and_part_of_an_address(asked: Any) -> None:
    text = "y" * IN_A_LINE
    for method, path, operation in routes(asked.document):
        address = path.replace("{", "").replace("}", "")
        for n, parameter in enumerate(operation.get("parameters", ())):
            if parameter["in"] == "query" and n % 2:
                continue  # each is in many addresses
            name = parameter["name"]
            if parameter["in"] == "query":
                asked(method, address, params={name: text})
            elif parameter["in"] == "header":
                asked(method, address, headers={name: text})
            elif parameter["in"] == "path":
                asked(method, path.replace(f"{{{name}}}", text).replace("{", "").replace("}", ""))
        asked(method, address, params={text: text[:10]})
    for address in (f"/api/{text}", f"/api/v1/jobs/{text}", f"/v1/{text}", f"/sdapi/v1/{text}", f"/predict/{text}"):
        for method in ("GET", "POST", "DELETE"):
            asked(method, address)


def test_headers_that_any_request_may_have(asked: Any) -> None:
    text = "z" * IN_A_LINE
    for name in ("content-type", "accept", "origin", "host", "x-request-id", "traceparent", "range", "if-none-match"):
        asked("GET", "/api/v1/jobs/nothing", headers={name: text})
        asked("POST", "/api/v1/jobs", json={}, headers={name: text})
    for key in (f"Bearer {text}", f"Bearer t2i_{text}", f"Basic {text}", text):
        assert asked("GET", "/api/v1/jobs", headers={"authorization": key}).status_code == 401
    asked("POST", "/mcp", content=text, headers={"content-type": "application/json"})
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": KINDS[0], "arguments": {KINDS[0]: 1}}}
    told = asked("POST", "/mcp", json=call, headers={"accept": "application/json, text/event-stream"})
    assert len(told.content) <= MOST_ANSWERED
