"""Programs that go on asking for pictures whatever happens, and keep the account of what they were promised.

Not a command. Used by chaos.py.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

SEEDS = 5  # so few that jobs of the same seed and steps can be compared: they must become the same picture
# What a studio may answer to a right request when something is wrong with its machine, or when there is too much.
BORNE = {408, 429, 503, 507}
TIMEOUT_S = 30.0


@dataclass
class Promise:
    """A request that was made under a key of its own, and the jobs that were promised for it."""

    key: str
    body: dict[str, Any]
    ids: list[str] = field(default_factory=list)
    answers: set[tuple[str, ...]] = field(default_factory=set)  # different ones would be jobs done twice


@dataclass
class Account:
    """All that was asked for and answered. Only added to, under `lock`."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    promises: list[Promise] = field(default_factory=list)
    flooded: list[str] = field(default_factory=list)  # ids that a flood got
    cancelled: set[str] = field(default_factory=set)
    doomed: set[str] = field(default_factory=set)  # whose executor is killed whenever they run
    odd: Counter[str] = field(default_factory=Counter)  # answers that none should be
    refused: Counter[int] = field(default_factory=Counter)

    def ids(self) -> list[str]:
        """Every job that was promised."""
        with self.lock:
            return [one for promise in self.promises for one in promise.ids] + list(self.flooded)


def client(address: str, source: str = "127.0.0.1") -> httpx.Client:
    """Connections from this address of the loopback network."""
    transport = httpx.HTTPTransport(local_address=source)
    return httpx.Client(base_url=address, timeout=TIMEOUT_S, transport=transport, trust_env=False)


def drawing(number: int, steps: int = 20, **more: Any) -> dict[str, Any]:
    """The body of a request for a small picture, one of SEEDS."""
    params = {
        **{"prompt": "a red heart", "init": "random", "width": 16, "height": 16, "cutn": 2, "save_every": 5},
        **{"steps": steps, "seed": number % SEEDS, "upscale": 1, **more},
    }
    return {"engine": "vqgan-clip", "params": params}


class Visitors(threading.Thread):
    """Keeps so many jobs unfinished. While `away` is set nobody asks; each request is repeated until it is answered."""

    def __init__(self, address: str, account: Account, ahead: int, seed: int) -> None:
        super().__init__(name="visitors", daemon=True)
        self._address, self.account, self._ahead = address, account, ahead
        self._draw = random.Random(seed)
        self.away, self.end, self.idle = threading.Event(), threading.Event(), threading.Event()
        self._number = 0

    def leave(self) -> None:
        """Returns when no request is under way; none is made until `come_back`."""
        self.idle.clear()
        self.away.set()
        self.idle.wait(2 * TIMEOUT_S)

    def come_back(self) -> None:
        self.away.clear()

    def run(self) -> None:
        open_promise: Promise | None = None
        with client(self._address) as http:
            while not self.end.is_set() or open_promise is not None:
                if self.away.is_set():
                    self.idle.set()
                    time.sleep(0.1)
                    continue
                try:
                    if open_promise is None:
                        if self._unfinished(http) >= self._ahead:
                            self.end.wait(0.5)
                            continue
                        open_promise = self._new()
                    if self._ask(http, open_promise):
                        open_promise = None
                        # Now and then the same again: it must be answered with the same jobs.
                        if self._draw.random() < 0.1:
                            self._ask(http, self._draw.choice(self.account.promises[-20:]))
                    else:
                        time.sleep(0.3)
                except httpx.HTTPError:
                    time.sleep(0.3)  # the web app is down, or was killed while it answered: the same key again
        self.idle.set()

    def _unfinished(self, http: httpx.Client) -> int:
        answer = http.get("/api/v1/queue")
        if answer.status_code != 200:
            self._note(answer)
            return self._ahead
        counts = answer.json()["counts"]
        return int(counts.get("queued", 0)) + int(counts.get("running", 0))

    def _new(self) -> Promise:
        self._number += 1
        steps = 300 if self._number % 20 == 0 else self._draw.choice((10, 20, 40))
        body = drawing(self._number, steps)
        if self._number % 7 == 0:
            body["pictures"] = 3
        promise = Promise(f"chaos-{uuid.uuid4().hex}", body)
        with self.account.lock:
            self.account.promises.append(promise)
        return promise

    def _ask(self, http: httpx.Client, promise: Promise) -> bool:
        """Whether there was an answer that settles it."""
        answer = http.post("/api/v1/jobs", json=promise.body, headers={"Idempotency-Key": promise.key})
        if answer.status_code in (200, 201):
            ids = [job["id"] for job in answer.json()["jobs"]]
            with self.account.lock:
                promise.answers.add(tuple(ids))
                promise.ids = ids
            return True
        self._note(answer)
        return answer.status_code not in BORNE and not promise.ids

    def _note(self, answer: httpx.Response) -> None:
        with self.account.lock:
            if answer.status_code in BORNE:
                self.account.refused[answer.status_code] += 1
            else:
                said = f"{answer.request.method} {answer.request.url.path} {answer.status_code}: {answer.text[:200]}"
                self.account.odd[said] += 1
