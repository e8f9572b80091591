"""All that is asked about a GPU, one measurement after another, for as long as there is time.

python scripts/measure_gpu.py --output out --seconds 350
`scripts/measure_gpu.sh` runs it from a bundle. Each measurement is a process of its own with a time limit: one that
crashes or hangs costs itself alone. results.json is written anew after every one, so that a call which is cut off
leaves what there was; results.md is its tables, log.txt what the processes said. --scale trial goes through the same on
a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.device_turn import FILE  # noqa: E402
from scripts.gpu_report import report  # noqa: E402

POLL_S, LAST_S, LEAST_S = 0.1, 3.0, 8.0  # between two looks; for the end of it all; with less a process is not begun
CORES_EACH, AT_ONCE = 3, 5  # cores that a process takes to make itself ready; and how many do so at once at most
TOGETHER = 8
ENGINES = "engines"  # whose JSON names each row itself
PROMISING = ("vqgan-clip", "guided-diffusion", "stable-diffusion", "latent-diffusion", "biggan-clip")
# Real architectures, those first that most is asked of.
REAL = (
    "imagenet-f16-16384",
    "stable-diffusion-1-5",
    "guided-diffusion-256",
    "biggan-deep-512",
    "swinir-l",
    "guided-diffusion-512",
    "openimages-f8-8192",
    "biggan-deep-256",
    "biggan-deep-128",
    "stable-diffusion-xl",
)
TRIAL = ("imagenet-f16-16384", "biggan-deep-128", "swinir-l")
PRESETS = ("small", "tiny", "eir", "large")


@dataclass(frozen=True)
class Measurement:
    """What is run, and where in the results its JSON goes. alone: while nothing else runs."""

    part: str
    name: str
    command: tuple[str, ...]
    limit_s: float
    alone: bool = False

    @property
    def label(self) -> str:
        return f"{self.part}: {self.name}"


def plan(scale: str, device: str) -> list[Measurement]:
    """What is measured, the most important first. Kernels are compiled beside it, and used at the end."""
    on, real = ("--device", device), scale == "real"
    patience = 1 if real else 4  # a CPU that others use as well
    how = ("--real", "--iterations", "10", "--threads", "4") if real else ("--iterations", "2")
    jobs = ("--rounds", "3", "--jobs", "1", "4", str(TOGETHER)) if real else ("--rounds", "1", "--jobs", "1", "2")
    compiled = (*how, *jobs[:2], "--jobs", "1", *((str(TOGETHER),) if real else ()), "--compiled", *on)
    together = ("--together", str(TOGETHER if real else 2))
    return [
        Measurement("device", "device", ("measure_device.py", *on), 60 * patience, alone=True),
        Measurement("loops", "loops", ("benchmark_engine.py", *how, *jobs, *on), 120 * patience, alone=True),
        Measurement("loops", "kernels", ("benchmark_engine.py", *compiled, "--warm"), 200 * patience),
        *(Measurement("promises", name, ("check_promises.py", name, *on), 90 * patience) for name in PROMISING),
        *(
            Measurement(ENGINES, name, ("measure_engines.py", name, *together, "--promises", *on), 150 * patience)
            for name in (REAL if real else TRIAL)
        ),
        *(
            Measurement(
                "training", name, ("measure_training.py", name, *on, *(() if real else ("--trial",))), 120 * patience
            )
            for name in PRESETS
        ),
        Measurement("loops", "compiled", ("benchmark_engine.py", *compiled), 100 * patience, alone=True),
    ]


@dataclass
class Running:
    """A measurement under way, in a process group of its own."""

    what: Measurement
    process: subprocess.Popen[bytes]
    log: Path
    found: Path
    since: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        """The process and all that it has started; they may be gone."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self.process.wait()


class Results:
    """What was found so far, on the disk as well: results.json, results.md, log.txt."""

    def __init__(self, output: Path, about: dict[str, Any]) -> None:
        self.output, self.began = output, time.time()
        self.found: dict[str, Any] = {**about, "runs": {}}
        output.mkdir(parents=True, exist_ok=True)
        self.write()

    def add(self, run: Running, state: str) -> None:
        """What a measurement has left, whole or not."""
        text = run.log.read_text(errors="replace")
        with open(self.output / "log.txt", "a") as log:
            log.write(f"==== {run.what.label} ({state})\n{text}\n")
        try:
            made = json.loads(run.found.read_text())
        except (OSError, ValueError):
            made = None
        if made is not None:
            part = self.found.setdefault(run.what.part, {})
            part.update(made if run.what.part == ENGINES else {run.what.name: made})
        took = round(time.monotonic() - run.since, 1)
        self.note(run.what, state, seconds=took, said="" if state == "measured" else "\n".join(text.splitlines()[-3:]))

    def note(self, what: Measurement, state: str, **more: Any) -> None:
        self.found["runs"][what.label] = {"state": state, **more}
        self.write()

    def write(self) -> None:
        self.found["seconds"] = round(time.time() - self.began, 1)
        self._put("results.json", json.dumps(self.found, indent=1))
        try:
            text = report(self.found)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:  # of half a measurement
            text = f"The tables could not be made of results.json: {type(error).__name__}: {error}\n"
        self._put("results.md", text)

    def _put(self, name: str, text: str) -> None:
        part = self.output / f".{name}"
        part.write_text(text)
        part.replace(self.output / name)


def started(what: Measurement, work: Path) -> Running:
    stem = work / what.label.replace(": ", "-").replace("/", "-")
    found, log = stem.with_suffix(".json"), stem.with_suffix(".log")
    script, *arguments = what.command
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments, "--json", str(found)]
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, FILE: str(work / "turn")},
        )  # fmt: skip
    return Running(what, process, log, found)


def may_begin(what: Measurement, running: Sequence[Running], at_once: int) -> bool:
    if what.alone:
        return not running
    return len(running) < at_once and not any(one.what.alone for one in running)


def measure(measurements: Sequence[Measurement], results: Results, deadline: float, at_once: int) -> None:
    """All of them in this order, until the deadline (s of time.monotonic)."""
    waiting, running = deque(measurements), list[Running]()
    with tempfile.TemporaryDirectory() as work:
        try:
            while waiting or running:
                now = time.monotonic()
                while waiting and now + LEAST_S > deadline:
                    results.note(waiting.popleft(), "left out: no time")
                while waiting and may_begin(waiting[0], running, at_once):
                    running.append(started(waiting.popleft(), Path(work)))
                for run, state in list(ended(running, deadline)):
                    run.end()
                    running.remove(run)
                    results.add(run, state)
                    print(f"{run.what.label}: {state}", flush=True)
                time.sleep(POLL_S)
        finally:
            for run in running:
                run.end()
                results.add(run, "cut off")
            for what in waiting:
                results.note(what, "left out: cut off")


def ended(running: Sequence[Running], deadline: float) -> Iterator[tuple[Running, str]]:
    """Those that are done or have had their time, and how that is called."""
    now = time.monotonic()
    for run in running:
        status = run.process.poll()
        if status is not None:
            yield run, "measured" if status == 0 else f"failed ({status})"
        elif now > deadline or now - run.since > run.what.limit_s:
            yield run, "out of time"


def stopped(*_: object) -> None:
    """What there is stays, and what runs ends."""
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out"), help="the folder for what is found")
    parser.add_argument("--seconds", type=float, default=350, help="for everything")
    parser.add_argument("--device", default="cuda", help="cpu, cuda or cuda:N")
    parser.add_argument("--scale", choices=("real", "trial"), default="real", help="trial: small enough for a CPU")
    given = parser.parse_args()
    deadline = time.monotonic() + given.seconds - LAST_S
    signal.signal(signal.SIGTERM, stopped)
    results = Results(given.output, {"scale": given.scale, "device_name": given.device})
    at_once = max(1, min(AT_ONCE, (os.cpu_count() or 1) // CORES_EACH))
    try:
        measure(plan(given.scale, given.device), results, deadline, at_once)
    except KeyboardInterrupt:
        print("Cut off.", file=sys.stderr)
    print((given.output / "results.md").read_text())
    return int(any(run["state"] != "measured" for run in results.found["runs"].values()))


if __name__ == "__main__":
    sys.exit(main())
