"""The executors' work played forward: who starts when, if nothing else comes. Times in s from now."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from db.queue.fair_order import NEARLY, SAME_BATCH_S, ready_since, take_turn
from db.queue.paces import Pace

MAX_SLICES = 1000  # ends of slices that are played; further ahead jobs are played to their end


@dataclass(frozen=True)
class Waiting:
    """A job in the line. steps: those that are left; alone: s one takes, where that is known of this very job."""

    id: str
    engine: str
    batch_key: str
    steps: float
    submitter: str
    priority: int = 0
    arrived: float = 0.0  # by its stamp, in s: what turns are told by
    address: str | None = None
    paused: bool = False  # its slice was over: it goes on when it is its submitter's turn
    alone: float | None = None
    suspect: bool = False  # it runs alone, see db/queue/suspects.py

    def pace(self, paces: Mapping[str, Pace]) -> Pace:
        """How fast it is. paces: by engine."""
        usual = paces[self.engine]
        return usual if self.alone is None else Pace(self.alone, usual.share)


@dataclass
class _Running:
    batch_key: str
    left: float  # steps
    pace: Pace
    job: Waiting | None
    had: float  # s of its slice


@dataclass
class Lane:
    """One executor: its places and what is in them. slice_s: after so long a job makes room; inf: it does not.

    at: its machine and device, where one suspect runs at a time. lease_s: so long it waits for its jobs to end when it
    makes way for a suspect, since `way_at`; then it gives them back.
    """

    places: int
    engines: frozenset[str]
    running: list[_Running] = field(default_factory=list)
    turn_at: float = -math.inf
    slice_s: float = math.inf
    at: tuple[str, str] | None = None
    lease_s: float = math.inf
    way_at: float | None = None

    @property
    def holds_suspect(self) -> bool:
        """Whether it works on a suspect: it takes nothing beside it."""
        return any(one.job is not None and one.job.suspect for one in self.running)

    @property
    def is_full(self) -> bool:
        """Whether it takes nothing more."""
        return len(self.running) >= self.places or self.holds_suspect

    def take(self, batch_key: str, left: float, pace: Pace, job: Waiting | None = None, had: float = 0.0) -> None:
        """A job gets a place. left: its steps; had: s that it has held the place."""
        self.running.append(_Running(batch_key, left, pace, job, had))

    def next_end(self) -> float:
        """s until the first of its jobs ends."""
        beside = len(self.running)
        return min((job.left * max(job.pace.of(beside), 1e-9) for job in self.running), default=math.inf)

    def next_slice(self) -> float:
        """s until the next slice is over."""
        return min((self.slice_s - one.had for one in self.running if self.slice_s - one.had > 1e-6), default=math.inf)

    def over(self) -> list[_Running]:
        """Those that have had their slice and are not nearly done."""
        beside, nearly = len(self.running), NEARLY * self.slice_s
        had = [one for one in self.running if one.job is not None and one.had >= self.slice_s - 1e-6]
        return [one for one in had if one.left * one.pace.of(beside) > nearly]

    def advance(self, seconds: float) -> list[_Running]:
        """Let time pass; those that have ended leave, and are returned."""
        beside = len(self.running)
        for job in self.running:
            job.left -= seconds / max(job.pace.of(beside), 1e-9)
            job.had += seconds
        ended = [job for job in self.running if job.left <= 1e-6]
        self.running = [job for job in self.running if job.left > 1e-6]
        return ended

    def ends(self, refilled: bool) -> dict[str, float]:
        """s until each of its jobs ends, if nothing makes room before. refilled: their places are taken at once. Uses
        the lane up."""
        beside = len(self.running)
        if refilled:
            return {one.job.id: one.left * one.pace.of(beside) for one in self.running if one.job is not None}
        found, now = dict[str, float](), 0.0
        while self.running:
            pause = self.next_end()
            now += pause
            found |= {one.job.id: now for one in self.advance(pause) if one.job is not None}
        return found


Turn = tuple[float, bool, float, float, str]  # the least is next


class _Order:
    """Visitors by their turns."""

    def __init__(self) -> None:
        self._heap: list[tuple[Turn, str]] = []
        self._turns: dict[str, Turn] = {}  # what else is in the heap is no longer so

    def put(self, submitter: str, found: tuple[Turn, Waiting] | None) -> bool:
        """Whether their turn, None for none, is another one than it was."""
        if (found and found[0]) == self._turns.get(submitter):
            return False
        if found is None:
            del self._turns[submitter]
        else:
            self._turns[submitter] = found[0]
            heapq.heappush(self._heap, (found[0], submitter))
        return True

    def first(self) -> str | None:
        """Who has the least turn."""
        while self._heap and self._turns.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][1] if self._heap else None


class _Lines:
    """Every visitor's waiting jobs, when each was last served, and how many places each holds: whose turn it is, as
    db/queue/fair_order.py and db/queue/shares.py say. most: places that one visitor gets while others wait.

    For each question that is asked of them the visitors are kept in order. Whose turn has come to be later is found out
    when they are in front; whose may have come to be earlier is put in again.
    """

    def __init__(
        self,
        line: Sequence[Waiting],
        served: Mapping[str, float],
        turns: Mapping[str, Mapping[str, float]],
        held: Counter[str],
        most: float = math.inf,
    ) -> None:
        self.served, self.held, self.most = dict(served), held, most
        # address -> its last turns by job, the oldest in front
        self.turns = {address: dict(last) for address, last in turns.items()}
        self.suspects = sum(job.suspect for job in line)
        self._at = -math.inf
        # batch key, None for any -> engines and which suspects -> whose turns
        self._orders: dict[str | None, dict[tuple[frozenset[str], bool | None], _Order]] = {}
        # visitor -> batch key -> the jobs, the first to be served in front
        self.waiting: dict[str, dict[str, deque[Waiting]]] = defaultdict(lambda: defaultdict(deque))
        for job in sorted(line, key=_rank):
            self.waiting[job.submitter][job.batch_key].append(job)

    def next(
        self, engines: frozenset[str], batch_key: str | None = None, suspects: bool | None = None
    ) -> Waiting | None:
        """The job whose turn it is, of these engines and of one batch or of any. suspects: only those, or none."""
        orders = self._orders.setdefault(batch_key, {})
        order = orders.get((engines, suspects))
        if order is None:
            order = orders[engines, suspects] = _Order()
            for submitter in self.waiting:
                order.put(submitter, self._turn(submitter, engines, batch_key, suspects))
        while (first := order.first()) is not None:
            found = self._turn(first, engines, batch_key, suspects)
            if not order.put(first, found) and found is not None:
                return found[1]
        return None

    def _turn(
        self, submitter: str, engines: frozenset[str], batch_key: str | None, suspects: bool | None
    ) -> tuple[Turn, Waiting] | None:
        """When it is this visitor's turn, and with which job; None where they have none such."""
        keys = self.waiting.get(submitter, {})
        job = _first(keys.values() if batch_key is None else [keys.get(batch_key, deque())], engines, suspects)
        if job is None:
            return None
        if batch_key is not None and (first := _first(keys.values(), engines, suspects)) and first.paused:
            return None  # it goes on when it is its turn, and the others behind it
        own = max(job.arrived, self.served.get(submitter, -math.inf))
        shared = ready_since(self.turns.get(job.address or "", {}), -math.inf)
        return (-job.priority, self.is_full(submitter), max(own, shared), own, job.id), job

    def _put(self, submitter: str) -> None:
        """Something of this visitor has changed."""
        for batch_key in (None, *self.waiting.get(submitter, {})):
            for (engines, suspects), order in self._orders.get(batch_key, {}).items():
                order.put(submitter, self._turn(submitter, engines, batch_key, suspects))

    def is_full(self, submitter: str) -> bool:
        """Whether they hold all places that they get while others wait."""
        return self.held[submitter] >= self.most

    def take(self, job: Waiting, at: float) -> None:
        """A waiting job gets a place. at: now, as stamps tell it."""
        keys = self.waiting[job.submitter]
        keys[job.batch_key].remove(job)
        if not any(keys.values()):
            del self.waiting[job.submitter]
        self._served(job, at)
        self.held[job.submitter] += 1
        self.suspects -= job.suspect
        self._put(job.submitter)

    def put_back(self, job: Waiting, at: float | None = None) -> None:
        """A job makes room: it waits again. at: where its submitter and their address have had this turn, now."""
        jobs = self.waiting[job.submitter][job.batch_key]
        self.waiting[job.submitter][job.batch_key] = deque(sorted([job, *jobs], key=_rank))
        if at is not None:
            self._served(job, at)
        self.suspects += job.suspect
        self.ended(job)

    def ended(self, job: Waiting) -> None:
        """A job gives its place back."""
        self.held[job.submitter] -= 1
        self._put(job.submitter)

    def _served(self, job: Waiting, at: float) -> None:
        self._at = at = max(at, self._at + 1e-6)  # turns taken at one moment keep their order, as stamps do
        self.served[job.submitter] = at
        if job.address is not None:
            take_turn(self.turns.setdefault(job.address, {}), job.id, at)


def _first(keys: Iterable[deque[Waiting]], engines: Collection[str], suspects: bool | None) -> Waiting | None:
    """The first of one visitor's jobs, of these engines."""
    heads = (
        next((job for job in jobs if job.engine in engines and suspects in (None, job.suspect)), None) for jobs in keys
    )
    return min((job for job in heads if job is not None), key=_rank, default=None)


def _rank(job: Waiting) -> tuple[int, str]:
    return -job.priority, job.id


def play(
    line: Sequence[Waiting],
    lanes: Sequence[Lane],
    paces: Mapping[str, Pace],
    wanted: Collection[str],
    served: Mapping[str, float] | None = None,
    at: float = 0.0,
    *,
    turns: Mapping[str, Mapping[str, float]] | None = None,
    most: float = math.inf,
) -> dict[str, tuple[float, int]]:
    """When each of the wanted jobs starts, and how many start before it; those no lane serves are left out.

    line: all that wait. served: when each visitor was last served; at: now; turns: the last ones of each address, by
    job; all in s, as stamps tell it. most: places that one visitor gets while others wait.
    """
    held = Counter(one.job.submitter for lane in lanes for one in lane.running if one.job is not None)
    waiting, starts, open_ = (
        _Lines(line, served or {}, turns or {}, held, most),
        dict[str, tuple[float, int]](),
        set(wanted),
    )
    now, started, slices = 0.0, 0, 0
    while True:
        for lane in lanes:
            changed = True
            while changed:
                given = slices < MAX_SLICES and _make_room(lane, waiting, at + now)
                slices += given
                taken = _fill(lane, lanes, waiting, now, at, paces)
                for job in taken:
                    if job.id in open_:
                        starts[job.id] = now, started
                        open_.discard(job.id)
                    started += not job.paused
                changed = given or bool(taken)  # a place that no job of the batch takes is for any other
        pause = min((lane.next_end() for lane in lanes), default=math.inf)
        if not open_ or math.isinf(pause):
            return starts
        if slices < MAX_SLICES:
            slices_end = (lane.next_slice() for lane in lanes if lane.is_full)
            pause = min(pause, *slices_end, math.inf)
        pause = min(pause, *(lane.way_at + lane.lease_s - now for lane in lanes if lane.way_at is not None), math.inf)
        for lane in lanes:
            for ended in lane.advance(pause):
                if ended.job is not None:
                    waiting.ended(ended.job)
        now += pause


def _make_room(lane: Lane, waiting: _Lines, at: float) -> bool:
    """Whether somebody who has had their slice gives the place to whose turn it is, as db/queue/slices.py says."""
    over = lane.over() if lane.is_full else []
    head = waiting.next(lane.engines, suspects=False) if over else None
    if head is None or waiting.is_full(head.submitter):
        return False
    giving = [
        (waiting.held[job.submitter], one.had, n)
        for n, one in enumerate(over)
        if (job := one.job) is not None
        and job.submitter != head.submitter
        and job.priority <= head.priority
        and waiting.held[head.submitter] < waiting.held[job.submitter]
    ]
    if not giving:
        return False
    one = over[max(giving)[2]]
    assert one.job is not None
    lane.running.remove(one)
    waiting.put_back(replace(one.job, steps=one.left, paused=True, alone=one.pace.alone), at)
    lane.turn_at = -math.inf
    return True


def _fill(
    lane: Lane, lanes: Sequence[Lane], waiting: _Lines, now: float, at: float, paces: Mapping[str, Pace]
) -> list[Waiting]:
    """As executor/loop.py does: jobs of the batch that runs for a while, then whose turn it is and its like."""
    taken: list[Waiting] = []
    if lane.is_full:
        return taken
    suspects = _suspects(lane, lanes, waiting, now)
    key: str | None = None
    if lane.running and now - lane.turn_at < SAME_BATCH_S:
        key = Counter(job.batch_key for job in lane.running).most_common(1)[0][0]
        if _like(lane, waiting, key, suspects) is None:
            key = None
    while lane.way_at is None and not lane.is_full:
        if key is None and not taken:
            lane.turn_at = now
        job = waiting.next(lane.engines, None, suspects) if key is None else _like(lane, waiting, key, suspects)
        if job is None:
            break
        waiting.take(job, at + now)
        key, suspects = job.batch_key, False
        lane.take(job.batch_key, float(job.steps), job.pace(paces), job)
        taken.append(job)
    return taken


def _suspects(lane: Lane, lanes: Sequence[Lane], waiting: _Lines, now: float) -> bool | None:
    """What the executor may take, as db/queue/suspects.py says: only suspects, none, or whose turn it is.

    Where it makes way for one that is noted, and it takes nothing; after a lease it gives back what it holds.
    """
    first = waiting.next(lane.engines) if waiting.suspects else None
    taken = {one.at for one in lanes if one.holds_suspect and one.at is not None}
    able = [one for one in lanes if first and first.engine in one.engines and one.at not in taken]
    makes_way = (
        first is not None and first.suspect and lane is min(able, key=lambda one: len(one.running), default=None)
    )
    if not lane.running or not makes_way:
        lane.way_at = None
        return None if not lane.running and lane.at not in taken else False
    lane.way_at = now if lane.way_at is None else lane.way_at
    if now - lane.way_at < lane.lease_s - 1e-6:
        return True
    for one in lane.running:
        if one.job is not None:
            waiting.put_back(replace(one.job, steps=one.left, alone=one.pace.alone))
    lane.running, lane.way_at = [], None
    return True


def _like(lane: Lane, waiting: _Lines, batch_key: str, suspects: bool | None) -> Waiting | None:
    """The next job of a batch; none of who has their share where others wait."""
    job = waiting.next(lane.engines, batch_key, suspects)
    if job is None or not waiting.is_full(job.submitter):
        return job
    first = waiting.next(lane.engines, None, suspects)
    return None if first is not None and not waiting.is_full(first.submitter) else job
