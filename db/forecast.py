"""The executors' work played forward: who starts when, if nothing else comes. Times in s from now."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

# An executor fills its places with jobs of the batch that runs for so long, then with whose turn it is.
SAME_BATCH_S = 5.0
LIKELY_SHARE = 0.5
SHARES = [n / 10 for n in range(13)]


@dataclass(frozen=True)
class Pace:
    """s a step of one job takes alone, and which share of that each job beside it adds."""

    alone: float
    share: float

    def of(self, beside: float) -> float:
        """s a step takes where `beside` jobs share the device, itself included."""
        return self.alone * (1 + self.share * (beside - 1))


def fit(seen: Sequence[tuple[float, float]]) -> Pace:
    """The pace that explains (s a step, jobs that shared the device) best; a likely share where little is known."""

    def alone(share: float) -> float:
        return statistics.median(took / (1 + share * (beside - 1)) for took, beside in seen)

    def misfit(share: float) -> float:
        model = Pace(alone(share), share)
        error = statistics.fmean(abs(math.log(max(took, 1e-9) / max(model.of(beside), 1e-9))) for took, beside in seen)
        return error + 0.05 * abs(share - LIKELY_SHARE)

    best = min(SHARES, key=misfit)
    return Pace(alone(best), best)


@dataclass(frozen=True)
class Waiting:
    """A job in the line."""

    id: str
    engine: str
    batch_key: str
    steps: int
    submitter: str


@dataclass
class _Running:
    batch_key: str
    left: float  # steps
    pace: Pace


@dataclass
class Lane:
    """One executor: its places and what is in them."""

    places: int
    engines: frozenset[str]
    running: list[_Running] = field(default_factory=list)
    turn_at: float = -math.inf

    def take(self, batch_key: str, left: float, pace: Pace) -> None:
        """A job gets a place."""
        self.running.append(_Running(batch_key, left, pace))

    def next_end(self) -> float:
        """s until the first of its jobs ends."""
        beside = len(self.running)
        return min((job.left * job.pace.of(beside) for job in self.running), default=math.inf)

    def advance(self, seconds: float) -> None:
        """Let time pass; those that have ended leave."""
        beside = len(self.running)
        for job in self.running:
            job.left -= seconds / max(job.pace.of(beside), 1e-9)
        self.running = [job for job in self.running if job.left > 1e-6]


class _Line:
    """The waiting jobs in the order of service; the first of a batch is found without looking at the others."""

    def __init__(self, line: Sequence[Waiting]) -> None:
        self.by_key: dict[str, deque[int]] = defaultdict(deque)
        self.line = line
        for n, job in enumerate(line):
            self.by_key[job.batch_key].append(n)

    def first(self, engines: Collection[str], batch_key: str | None = None) -> Waiting | None:
        """Takes the first job these engines may have, of one batch or of any."""
        heads = [
            waiting[0]
            for key, waiting in self.by_key.items()
            if waiting and (batch_key is None or key == batch_key) and self.line[waiting[0]].engine in engines
        ]
        if not heads:
            return None
        job = self.line[min(heads)]
        self.by_key[job.batch_key].popleft()
        return job


def play(
    line: Sequence[Waiting], lanes: Sequence[Lane], paces: Mapping[str, Pace], wanted: Collection[str]
) -> dict[str, tuple[float, int]]:
    """When each of the wanted jobs starts, and how many start before it; those no lane serves are left out."""
    waiting, starts, open_ = _Line(line), {}, set(wanted)
    now, started = 0.0, 0
    while True:
        for lane in lanes:
            for job in _fill(lane, waiting, now, paces):
                if job.id in open_:
                    starts[job.id] = now, started
                    open_.discard(job.id)
                started += 1
        pause = min((lane.next_end() for lane in lanes), default=math.inf)
        if not open_ or math.isinf(pause):
            return starts
        for lane in lanes:
            lane.advance(pause)
        now += pause


def _fill(lane: Lane, waiting: _Line, now: float, paces: Mapping[str, Pace]) -> list[Waiting]:
    """As executor/loop.py does: jobs of the batch that runs for a while, then whose turn it is and its like."""
    taken: list[Waiting] = []
    key: str | None = None
    if lane.running and now - lane.turn_at < SAME_BATCH_S:
        key = Counter(job.batch_key for job in lane.running).most_common(1)[0][0]
        if not waiting.by_key.get(key):
            key = None
    while len(lane.running) < lane.places:
        if key is None and not taken:
            lane.turn_at = now
        job = waiting.first(lane.engines, key)
        if job is None:
            break
        key = job.batch_key
        lane.take(job.batch_key, float(job.steps), paces[job.engine])
        taken.append(job)
    return taken
