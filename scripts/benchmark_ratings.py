"""What votes cost the web app: dealing a pair and looking at the leaderboard, in a small and in a large studio.

    python scripts/benchmark_ratings.py
    python scripts/benchmark_ratings.py --pictures 50000 --votes 100000

Both studios are SQLite files with simulated voters, made for this run; figures are medians of CPU time in ms, one
process, one thread. "rated anew" is what every view would cost if ratings were not kept; "view" is what it costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import artefacts, queue
from db.engine import connect, writing
from db.schema import jobs, votes
from db.votes import history, pairs
from generator.params import validate
from ratings.standings import standings
from studio.standings import Keeper, collected, voted_on

SMALL = (500, 1000)
ENGINES = ("vqgan-clip", "latent-diffusion", "guided-diffusion", "biggan-clip")
CHECKPOINTS = ("mini", "mini-latent-diffusion", "mini-diffusion", "mini-biggan")


def fill(db: sa.Engine, pictures: int, cast: int) -> None:
    """Finished pictures, four of each prompt, and votes by simulated voters of 20 votes each."""
    rng = np.random.default_rng(0)
    rows = []
    for engine, checkpoint in zip(ENGINES, CHECKPOINTS, strict=True):
        params = validate(engine, {"prompt": "a red heart", "checkpoint": checkpoint})
        new = queue.NewJob(
            engine=engine,
            checkpoint=checkpoint,
            batch_key="b",
            prompt="a red heart",
            params=params.model_dump(mode="json"),
            total_steps=1,
        )
        rows.append(vars(queue.enqueue(db, new, submitter="host")) | {"state": "succeeded"})
    ids = [f"{10**15 + n:014x}{n:012x}" for n in range(pictures)]
    theta = rng.normal(0, 1, pictures)
    first = rng.integers(0, pictures, cast)
    # Half of the votes are between pictures of one prompt.
    near = first // 4 * 4 + (first + rng.integers(1, 4, cast)) % 4
    second = np.where(rng.random(cast) < 0.5, np.minimum(near, pictures - 1), rng.integers(0, pictures, cast))
    second = np.where(second == first, (first + 1) % pictures, second)
    low, high = np.minimum(first, second), np.maximum(first, second)
    won = rng.random(cast) < 1 / (1 + np.exp(theta[high] - theta[low]))
    voter = np.arange(cast) // 20
    with writing(db) as conn:
        conn.execute(sa.delete(votes))
        for begin in range(0, pictures, 5000):
            conn.execute(
                sa.insert(jobs),
                [
                    {
                        **rows[n % 4],
                        "id": ids[n],
                        "prompt": f"prompt {n // 4}",
                        "prompt_search": f"prompt {n // 4}",
                        "score": float(0.2 + theta[n] / 20),
                        "params": {**rows[n % 4]["params"], "cutn": int(8 << (n // 4 % 3))},
                    }
                    for n in range(begin, min(begin + 5000, pictures))
                ],
            )
        seen = set()
        lines = []
        for n in range(cast):
            key = (int(voter[n]), int(low[n]), int(high[n]))
            if key in seen:
                continue
            seen.add(key)
            pair = ids[low[n]], ids[high[n]]
            lines.append(
                {
                    "voter": f"voter-{voter[n]}",
                    "first_id": pair[0],
                    "second_id": pair[1],
                    "winner_id": pair[0] if won[n] else pair[1],
                    "left_id": pair[n % 2],
                    "at": 1.8e9 + n / 10,
                }
            )
        conn.execute(sa.insert(votes), lines)


def median_ms(work: Callable[[], Any], rounds: int) -> float:
    """Median CPU time of one call in ms."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(1000 * (time.process_time() - started))
    return statistics.median(times)


def measure(folder: str, pictures: int, cast: int) -> dict[str, float]:
    """ms of each step, by name."""
    db = connect(f"sqlite:///{folder}/{pictures}.db")
    fill(db, pictures, cast)
    pool = pairs.pool(db)
    keeper = Keeper()
    while keeper.current(db) is None:
        time.sleep(0.1)

    def view() -> None:
        kept = keeper.current(db)
        assert kept is not None
        best = [rated.name for rated in kept.best]
        history.visible(db, best)
        artefacts.of_jobs(db, best)

    found = {
        "pool of pairs (every 5 s)": median_ms(lambda: pairs.pool(db), 9),
        "deal a pair": median_ms(lambda: pairs.next_pair(db, "eve", among=pool), 15),
        "leaderboard: view": median_ms(view, 25),
        "leaderboard: rated anew": median_ms(
            lambda: standings(collected(*voted_on(db, {}))), 1 if cast > 10_000 else 3
        ),
    }
    db.dispose()
    return found


def main() -> int:
    """Print a table: both studios, and the large one as a multiple of the small one."""
    parser = argparse.ArgumentParser(description="What votes cost the web app in a small and in a large studio.")
    parser.add_argument("--pictures", type=int, default=50_000, help="of the large studio (default 50000)")
    parser.add_argument("--votes", type=int, default=100_000, help="of the large studio (default 100000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, large = measure(folder, *SMALL), measure(folder, args.pictures, args.votes)
    title = f"{SMALL[0]} pictures, {SMALL[1]} votes", f"{args.pictures} pictures, {args.votes} votes"
    print(f"{'ms':28s} {title[0]:>26s} {title[1]:>32s}  ratio")
    for name in small:
        print(f"{name:28s} {small[name]:26.1f} {large[name]:32.1f} {large[name] / small[name]:6.1f}")
    saved = large["leaderboard: rated anew"] / large["leaderboard: view"]
    print(f"A view of the large leaderboard costs 1/{saved:,.0f} of rating it anew.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
