"""Ask the API for everything its OpenAPI document describes, in every wrong and right way, and see what it answers.

    python scripts/fuzz_api.py [--cases 2000] [--seed 1] [--database URL]

A server is started on an empty studio in a temporary folder, a few pictures are put there, and schemathesis makes the
requests, with a key of the host: half of them as described, half of them not. Told is every answer of 5xx, with an
undocumented status or content type, or of another shape than the document says. Exit status 1 where there is one.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402
import schemathesis  # noqa: E402
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import seed as seeded  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from PIL import Image  # noqa: E402
from schemathesis.core.failures import FailureGroup  # noqa: E402
from schemathesis.generation import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from db import artefacts, queue  # noqa: E402
from db.artefacts import Store  # noqa: E402
from db.engine import connect  # noqa: E402
from db.rules import keys  # noqa: E402
from scripts.full_studio import Server, ask  # noqa: E402

CASES = 2000
PER_ENDPOINT = 24  # in one round
WAIT_S = 0.2  # what a request may wait for a job
TIMEOUT_S = 60.0
# Calls that wait for their pictures, which nobody draws here: one that is not refused at once is right, and is left.
WAITING = ("/v1/images/", "/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/extra-", "/post", "/predict/")
LEFT_AFTER_S = 0.4
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
ODD: list[Any] = [
    *("\x00", "a \x00 b", "\ud800", "\udc00\ud800", "x" * 20_000, "1e999", "../../etc/passwd", "{}", "%s", "\u202e"),
    *(float("nan"), float("inf"), -1, 0, 10**400, -(2**63), 1e308, True, None, [], {}, [[[[[]]]]], {"\x00": "\ud800"}),
]
MODES = {"as described": GenerationMode.POSITIVE, "otherwise": GenerationMode.NEGATIVE}


@dataclass
class Found:
    """How many requests were made, what was answered, and what was wrong with it."""

    statuses: Counter[int] = field(default_factory=Counter)
    endpoints: int = 0
    left: int = 0  # calls that wait for their pictures
    wrong: list[str] = field(default_factory=list)


def fuzz(address: str, headers: dict[str, str], *, per_endpoint: int, seed: int = 1, wrongly: int = 1) -> Found:
    """Ask for every endpoint at most so many times: fewer where there is not so much to ask.

    wrongly: every so manieth endpoint, in the order of their names, is asked otherwise than described as well.
    """
    schema = schemathesis.openapi.from_url(f"{address}/api/openapi.json", headers=headers, timeout=TIMEOUT_S)
    found, known = Found(), names_of_things(address, headers)
    with requests.Session() as session:
        _fuzz(found, known, schema, session, headers, per_endpoint, seed, wrongly)
    return found


def _fuzz(
    found: Found,
    known: dict[str, list[str]],
    schema: Any,
    session: Any,
    headers: dict[str, str],
    count: int,
    seed: int,
    wrongly: int,
) -> None:
    operations = sorted((one.ok() for one in schema.get_all_operations()), key=lambda operation: str(operation.label))
    found.endpoints = len(operations)
    for n, operation in enumerate(operations):
        for name, mode in MODES.items():
            if mode == GenerationMode.NEGATIVE and n % wrongly:
                continue
            made = _strategy(operation, mode)
            if made is not None:
                ask_for = _asker(found, known, session, headers, f"{operation.label} {name}")
                _run(ask_for, made, max(count // len(MODES), 1), seed)


def names_of_things(address: str, headers: dict[str, str]) -> dict[str, list[str]]:
    """What there is, by the name of the parameter that it goes into: else nothing but 404 would be seen."""

    def get(path: str) -> Any:
        answer = requests.get(f"{address}/api/v1/{path}", headers=headers, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()

    jobs = get("jobs?limit=100&what=all")["jobs"]
    finished = [job["id"] for job in jobs if job["state"] == "succeeded"]
    files = [file["id"] for job in jobs for file in job["files"]]
    engines = [engine["name"] for engine in get("engines")["engines"]]
    everything = [job["id"] for job in jobs]
    return {
        "job_id": everything,
        "parent_id": finished,
        "ended_job_id": finished,
        "job_ids": everything,
        "left_id": finished,
        "right_id": finished,
        "artefact_id": files,
        "pictures": files,
        "sheet_id": [sheet["id"] for sheet in get("sheets")["sheets"]],
        "refinement_id": [one["id"] for one in get("refinements")["refinements"]],
        "handle": [one["handle"] for one in get("host/visitors")["visitors"]],
        "engine": engines,
        "name": [*engines, *(one["name"] for one in get("checkpoints")["checkpoints"]), "ViT-B/32"],
        "place": ["1"],
    }


def _strategy(operation: Any, mode: GenerationMode) -> Any:
    try:
        made = operation.as_strategy(generation_mode=mode)
        made.validate()
        return None if made.is_empty else made
    except Exception:  # there is nothing to get wrong where nothing is asked for
        if mode == GenerationMode.POSITIVE:
            raise
        return None


def _asker(found: Found, known: dict[str, list[str]], session: requests.Session, headers: dict[str, str], label: str):  # type: ignore[no-untyped-def]
    def ask_for(case: Any, choice: int) -> None:
        if choice % 2:
            _made_real(case, known, choice // 2)
        _bounded(case, known, choice // 2)
        try:
            answer = _sent(case, session, headers, choice // 2)
        except (ValueError, UnicodeError, requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
            return  # no client can send that
        except requests.RequestException as error:
            if isinstance(error, requests.Timeout) and case.operation.path.startswith(WAITING):
                found.left += 1
                return
            found.wrong.append(f"{label}: no answer: {error!r}\n{case.as_curl_command()}")
            return
        found.statuses[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as failures:
            found.wrong += [f"{label}: {one}\n{case.as_curl_command()[:1500]}" for one in failures.exceptions]

    return ask_for


def _sent(case: Any, session: requests.Session, headers: dict[str, str], choice: int) -> requests.Response:
    """The answer; every third request goes out with a value in it that no schema makes."""
    texts = [one for one in ODD if isinstance(one, str) and "/" not in one]  # with one it is another address
    for place in (case.query, case.path_parameters):
        if place and choice % 3 == 1:
            place[sorted(place, key=str)[choice % len(place)]] = texts[choice % len(texts)]
    timeout = LEFT_AFTER_S if case.operation.path.startswith(WAITING) else TIMEOUT_S
    if not isinstance(case.body, dict) or not case.body or choice % 3:
        answer: requests.Response = case.call(session=session, headers=headers, timeout=timeout)
        return answer
    wanted = case.as_transport_kwargs(headers={**headers, "content-type": "application/json"})
    wanted.pop("json", None)
    wanted["data"] = json.dumps(_odd(case.body, choice // 3))
    return session.request(**wanted, timeout=timeout)


def _odd(body: dict[str, Any], choice: int) -> dict[str, Any]:
    """The body with one of ODD in it, at the top or further in."""
    name = sorted(body, key=str)[choice % len(body)]
    inner = body[name]
    if isinstance(inner, dict) and inner and choice % 2:
        return {**body, name: _odd(inner, choice // 2)}
    odd = ODD[choice // len(body) % len(ODD)]
    return {**body, name: [odd] if isinstance(inner, list) else odd}


def _run(ask_for: Any, cases: Any, count: int, seed: int) -> None:
    test = given(case=cases, choice=st.integers(0, 2**16))(ask_for)
    quiet = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        seeded(seed)(quiet(test))()
    except Unsatisfiable:
        return


def _made_real(case: Any, known: dict[str, list[str]], choice: int) -> None:
    """Put names of what there is where names go."""
    for place in (case.path_parameters, case.query):
        for name in place or {}:
            if known.get(name):
                place[name] = known[name][choice % len(known[name])]
    if isinstance(case.body, dict):
        case.body = _real(case.body, known, choice)


def _real(body: dict[str, Any], known: dict[str, list[str]], choice: int) -> dict[str, Any]:
    made = dict(body)
    for name, value in body.items():
        there = known.get(name) or []
        if isinstance(value, dict):
            made[name] = {"prompt": "a red heart", **value} if name == "params" else _real(value, known, choice)
        elif isinstance(value, list) and there:
            made[name] = [there[(choice + n) % len(there)] for n in range(1 + choice % 5)]
        elif isinstance(value, str) and there:
            made[name] = there[choice % len(there)]
    return made


def _bounded(case: Any, known: dict[str, list[str]], choice: int) -> None:
    """A stream ends with its job, and a wait may be long: neither is waited for. Nothing is deleted for good."""
    path = case.operation.path
    if path.endswith("/events"):
        ended = known["ended_job_id"]
        if case.path_parameters["job_id"] in known["job_id"]:
            case.path_parameters["job_id"] = ended[choice % len(ended)]
    if path.endswith("/wait") and isinstance(case.query, dict) and isinstance(case.query.get("timeout_s"), int | float):
        case.query["timeout_s"] = min(case.query["timeout_s"], WAIT_S)
    elif path.endswith("/wait") and isinstance(case.query, dict) and "timeout_s" not in case.query:
        case.query["timeout_s"] = WAIT_S


def fill(folder: Path, database: str) -> str:
    """An empty studio on this database gets a few pictures and a key of the host; the key."""
    db, store = connect(database), Store(f"file://{folder}/artefacts")
    try:
        secret, key = keys.make(db, "fuzzing", "host")
        for n in range(6):
            ask(db, "vqgan-clip", key.submitter, {"prompt": f"heart {n}"})
        for job in queue.claim(db, worker_id="filler", limit=4, lease_s=600):
            out = io.BytesIO()
            Image.new("RGB", (16, 16), (n * 30, 0, 0)).save(out, "PNG")
            file: dict[str, Any] = {"kind": "picture", "data": out.getvalue(), "media_type": "image/png", "ext": "png"}
            artefacts.save(db, store, job_id=job.id, width=64, height=64, **file)
            queue.succeed(db, worker_id="filler", job_id=job.id, score=0.5)
    finally:
        db.dispose()
    return secret


def begin(address: str, headers: dict[str, str]) -> None:
    """Ask for a sheet and a refinement, so that there is one of each."""
    draft: dict[str, Any] = {"prompt": "a red heart", "engine": "vqgan-clip"}
    sheet: dict[str, Any] = {"engine": "vqgan-clip", "params": {"prompt": "a red heart"}, "pictures": 2}
    for path, body in (("jobs", sheet), ("refinements", draft)):
        answer = requests.post(f"{address}/api/v1/{path}", json=body, headers=headers, timeout=TIMEOUT_S)
        answer.raise_for_status()


def settings_for(folder: Path, database: str) -> dict[str, str]:
    """Of a server on this studio: everything is let through that a host may let through."""
    return {
        "T2I_DATABASE_URL": database,
        "T2I_EXPORTS_DIR": f"{folder}/exports",
        "T2I_CHECKPOINTS_DIR": f"{folder}/checkpoints",
        "T2I_DOWNLOADS": "true",
        "T2I_API": "keys",
        "T2I_MAX_QUEUED_PER_SUBMITTER": "100000",
        "T2I_MAX_QUEUED_PER_ADDRESS": "100000",
        "T2I_MAX_QUEUED": "100000",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES, help=f"requests in all, at least (default {CASES})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", metavar="URL", help="an empty database (default: SQLite, for the time)")
    args = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="t2i-fuzz-") as name:
        database = args.database or f"sqlite:///{name}/jobs.db"
        headers = {"authorization": f"Bearer {fill(Path(name), database)}"}
        server = Server(Path(name), settings_for(Path(name), database), script=None)
        try:
            begin(server.address, headers)
            found = fuzz(server.address, headers, per_endpoint=PER_ENDPOINT, seed=args.seed)
            rounds = 1
            while found.statuses.total() < args.cases and not found.wrong:
                more = fuzz(server.address, headers, per_endpoint=PER_ENDPOINT, seed=args.seed + rounds)
                found.statuses += more.statuses
                found.wrong += more.wrong
                found.left += more.left
                rounds += 1
        finally:
            server.stop()
        if found.wrong:
            print(server.log()[-5000:])
    for wrong in found.wrong:
        print(wrong, end="\n\n")
    told = ", ".join(f"{count} x {status}" for status, count in sorted(found.statuses.items()))
    waiting = f"{found.left} more wait for a picture"
    print(f"{found.statuses.total()} requests to {found.endpoints} endpoints: {told}; {waiting}.")
    print(f"{len(found.wrong)} wrong answers in {time.monotonic() - begun:.0f} s.")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
