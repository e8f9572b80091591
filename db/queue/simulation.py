"""The executors' work played forward: who starts when, if nothing else comes. Times in s from now."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from db.queue.fair_order import ADDRESS_TURNS, SAME_BATCH_S

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
    priority: int = 0
    arrived: float = 0.0  # by its stamp, in s: what turns are told by
    address: str | None = None


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


class _Lines:
    """Every visitor's waiting jobs, and when each was last served: whose turn it is, as db/queue/fair_order.py says."""

    def __init__(
        self, line: Sequence[Waiting], served: Mapping[str, float], turns: Mapping[str, Sequence[float]]
    ) -> None:
        self.served = dict(served)
        # address -> its last turns, the oldest in front
        self.turns = {address: deque(last, ADDRESS_TURNS) for address, last in turns.items()}
        # visitor -> batch key -> the jobs, the first to be served in front
        self.waiting: dict[str, dict[str, deque[tuple[int, Waiting]]]] = defaultdict(lambda: defaultdict(deque))
        for n, job in enumerate(line):
            self.waiting[job.submitter][job.batch_key].append((n, job))

    def first(self, engines: Collection[str], batch_key: str | None, at: float) -> Waiting | None:
        """Takes the job whose turn it is, of these engines and of one batch or of any. at: now, as stamps tell it."""
        best: tuple[float, float, float, str] | None = None
        chosen: Waiting | None = None
        for submitter, keys in self.waiting.items():
            heads = (keys.get(batch_key),) if batch_key is not None else keys.values()
            fit_ = [jobs[0] for jobs in heads if jobs and jobs[0][1].engine in engines]
            if not fit_:
                continue
            _, job = min(fit_, key=lambda head: (-head[1].priority, head[0]))
            own = max(job.arrived, self.served.get(submitter, -math.inf))
            turn = -job.priority, max(own, self._shared(job.address)), own, job.id
            if best is None or turn < best:
                best, chosen = turn, job
        if chosen is not None:
            keys = self.waiting[chosen.submitter]
            keys[chosen.batch_key].popleft()
            if not any(keys.values()):
                del self.waiting[chosen.submitter]
            self.served[chosen.submitter] = at
            if chosen.address is not None:
                self.turns.setdefault(chosen.address, deque(maxlen=ADDRESS_TURNS)).append(at)
        return chosen

    def _shared(self, address: str | None) -> float:
        """Since when an address has been ready."""
        turns = self.turns.get(address or "") or deque()
        return turns[0] if len(turns) == ADDRESS_TURNS else -math.inf

    def has(self, batch_key: str, engines: Collection[str]) -> bool:
        """Whether a job of this batch waits for one of these engines."""
        return any((jobs := keys.get(batch_key)) and jobs[0][1].engine in engines for keys in self.waiting.values())


def play(
    line: Sequence[Waiting],
    lanes: Sequence[Lane],
    paces: Mapping[str, Pace],
    wanted: Collection[str],
    served: Mapping[str, float] | None = None,
    at: float = 0.0,
    turns: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, tuple[float, int]]:
    """When each of the wanted jobs starts, and how many start before it; those no lane serves are left out.

    line: all that wait, each visitor's in order. served: when each visitor was last served; at: now; turns: the last
    ones of each address; all in s, as stamps tell it.
    """
    waiting, starts, open_ = _Lines(line, served or {}, turns or {}), {}, set(wanted)
    now, started = 0.0, 0
    while True:
        for lane in lanes:
            for job in _fill(lane, waiting, now, at, paces):
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


def _fill(lane: Lane, waiting: _Lines, now: float, at: float, paces: Mapping[str, Pace]) -> list[Waiting]:
    """As executor/loop.py does: jobs of the batch that runs for a while, then whose turn it is and its like."""
    taken: list[Waiting] = []
    key: str | None = None
    if lane.running and now - lane.turn_at < SAME_BATCH_S:
        key = Counter(job.batch_key for job in lane.running).most_common(1)[0][0]
        if not waiting.has(key, lane.engines):
            key = None
    while len(lane.running) < lane.places:
        if key is None and not taken:
            lane.turn_at = now
        # Turns taken at one moment keep their order.
        job = waiting.first(lane.engines, key, at + now + 1e-6 * len(taken))
        if job is None:
            break
        key = job.batch_key
        lane.take(job.batch_key, float(job.steps), paces[job.engine])
        taken.append(job)
    return taken
