"""Programs that call the API, as cheap as they can be: HTTP/1.1 on plain sockets, since they share the cores with it.

Not a command. Used by benchmark_api.py, which starts `post`, `follow` and `busy` in processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

BODY = {"engine": "vqgan-clip", "params": {"prompt": "a red heart on a white background", "width": 64, "height": 64}}
TIMEOUT_S = 60.0


class Connection:
    """One connection that is kept open. key: of the program that calls."""

    def __init__(self, address: str, key: str | None = None) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._head = f"Host: {self._host}:{self._port}\r\n" + (f"Authorization: Bearer {key}\r\n" if key else "")

    async def __aenter__(self) -> Connection:
        self.reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        """A request; its answer is to be read before the next."""
        kind = "Content-Type: application/json\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{kind}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of an answer that is no stream."""
        self.send(method, path, body)
        async with asyncio.timeout(TIMEOUT_S):
            status, headers = await self.head()
            return status, await self.reader.readexactly(int(headers.get("content-length", 0)))


def numbered(n: int) -> bytes:
    """A request for one picture."""
    return json.dumps({**BODY, "params": {**BODY["params"], "seed": n}}).encode()  # type: ignore[dict-item]


async def _post_all(address: str, keys: Sequence[str], each: int) -> list[float]:
    took: list[float] = []
    ready = asyncio.Barrier(len(keys))

    async def call(n: int, key: str) -> None:
        async with Connection(address, key) as connection:
            await ready.wait()
            for m in range(each):
                body, started = numbered(n * each + m), time.perf_counter()
                status, answer = await connection.ask("POST", "/api/v1/jobs", body)
                took.append(time.perf_counter() - started)
                assert status == 201, answer

    await asyncio.gather(*(call(n, key) for n, key in enumerate(keys)))
    return took


def post(address: str, keys: Sequence[str], each: int) -> list[float]:
    """Every key asks for `each` jobs, all at once and each one after the other; s that each call took."""
    return asyncio.run(_post_all(address, keys, each))


async def _follow_all(address: str, job_ids: Sequence[str], opened: Any, until: Any, times: Any) -> None:
    heard: list[tuple[str, int, float]] = []
    bytes_read = 0

    async def follow(job_id: str) -> None:
        nonlocal bytes_read
        async with Connection(address) as connection:
            connection.send("GET", f"/api/v1/jobs/{job_id}/events?previews=false")
            status, _ = await connection.head()
            assert status == 200
            first = True
            while line := await connection.reader.readline():
                bytes_read += len(line)
                if line.startswith(b'data: {"state": "running"') and b'"step"' in line:
                    heard.append((job_id, json.loads(line[6:])["step"], time.time()))
                    if first:
                        first = False
                        opened.release()

    tasks = [asyncio.create_task(follow(job_id)) for job_id in job_ids]
    while not until.is_set():
        await asyncio.sleep(0.1)
        for task in tasks:
            if task.done():
                task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    times.put((heard, bytes_read))


def follow(address: str, job_ids: Sequence[str], opened: Any, until: Any, times: Any) -> None:
    """A stream of events on each of these jobs until `until` is set; (job, step, when it arrived in UTC s) for each
    event of progress is put into `times` at the end. opened: a semaphore, released once for each stream that talks."""
    asyncio.run(_follow_all(address, job_ids, opened, until, times))


async def _idle(address: str, count: int, opened: Any, until: Any) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            connection = await stack.enter_async_context(Connection(address))
            status, _ = await connection.ask("GET", "/healthz")
            assert status == 200
            opened.release()
        while not until.is_set():
            await asyncio.sleep(0.1)


def idle(address: str, count: int, opened: Any, until: Any) -> None:
    """Connections that ask once and stay: what a stream costs over one of them is the stream."""
    asyncio.run(_idle(address, count, opened, until))


async def _busy(address: str, keys: Sequence[str], per_s: float, until: Any, answers: Any) -> None:
    took: list[float] = []
    ids: list[str] = []
    rng = random.Random(0)

    async def call(key: str) -> None:
        async with Connection(address, key) as connection:
            while not until.is_set():
                await asyncio.sleep(rng.uniform(0.5, 1.5) * len(keys) / per_s)
                kind = rng.random()
                if kind < 0.2 or not ids:
                    method, path, body = "POST", "/api/v1/jobs", numbered(rng.randrange(1 << 30))
                else:
                    path = "/api/v1/jobs" if kind < 0.4 else f"/api/v1/jobs/{rng.choice(ids[-200:])}"
                    method, body = "GET", b""
                started = time.perf_counter()
                status, answer = await connection.ask(method, path, body)
                took.append(time.perf_counter() - started)
                if method == "POST" and status == 201:
                    ids.extend(job["id"] for job in json.loads(answer)["jobs"])
                assert status in (200, 201, 404, 429), answer

    await asyncio.gather(*(call(key) for key in keys))
    answers.put(took)


def busy(address: str, keys: Sequence[str], per_s: float, until: Any, answers: Any) -> None:
    """So many calls a second together until `until` is set: one of five asks for a job, one lists, three look."""
    asyncio.run(_busy(address, keys, per_s, until, answers))


def draw(address: str, model: str, count: int, created: Callable[[str], tuple[float, float]]) -> list[float]:
    """`count` calls of the OpenAI API, one after the other: s that each took beyond the job itself.

    created: when a job was made and when it had ended, UTC s.
    """
    beyond = []
    with httpx.Client(base_url=address, timeout=TIMEOUT_S) as client:
        for n in range(count + 1):
            asked = {"model": model, "prompt": "a red heart", "response_format": "b64_json", "seed": n, "steps": 8}
            started = time.time()
            answer = client.post("/v1/images/generations", json=asked)
            took = time.time() - started
            assert answer.status_code == 200, answer.text
            begin, end = created(answer.json()["data"][0]["job_id"])
            if n:  # the first one opens and loads what all use
                beyond.append(took - (end - begin))
    return beyond
