"""An evening as the pages show it, written straight into the database: nothing here waits for a picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from db import artefacts, votes
from db.jobs import Job
from db.rules import visitors
from db.sheets import refinements, submissions
from db.sheets.submissions import NewSheet
from studio import context, refine
from studio.compare import axis, compare
from studio.context import Submitter
from studio.rank import rank
from studio.submit import Wish, candidates_of, submit, submit_sheet
from tests.pages.visits import ME, SOMEBODY, Studio

VOTERS = 4


@dataclass(frozen=True)
class Evening:
    """What an evening has left. drawn: finished pictures; paths: the address of every page, by what it shows."""

    studio: Studio
    drawn: list[Job]
    paths: dict[str, str]


def spend(folder: Path, prompt: str = "a red heart", name: str = "Ada") -> Evening:
    """Pictures of two engines and votes on them, a sheet, a comparison, a refinement, a queue: all of `prompt`.

    All asked for by the visitor ME, who is called `name`, or by SOMEBODY.
    """
    studio = Studio(folder)
    studio.start_executor()
    opened, me = studio.opened(), Submitter(ME)
    visitors.set_name(studio.db, ME, name)
    visitors.set_name(studio.db, SOMEBODY, name[::-1])

    for engine, owner in (("vqgan-clip", ME), ("latent-diffusion", SOMEBODY)):
        for cutn in (8, 32):
            settings = {"prompt": prompt, "steps": 40, "seed": None}
            settings |= {"cutn": cutn} if engine == "vqgan-clip" else {"cfg_scale": cutn / 8}
            submit(opened, Submitter(owner), Wish(engine, settings))
    two = candidates_of(opened, Submitter(SOMEBODY), Wish("vqgan-clip", {"prompt": prompt}, pictures=2))
    sheet, _ = submit_sheet(opened, me, NewSheet(kind="candidates", prompt=prompt, wanted=two))
    grid = axis("seed", "1, 2"), axis("steps", "10, 20")
    comparison = compare(opened, me, "vqgan-clip", {"prompt": prompt}, *grid)
    begun = refine.begin(opened, me, prompt=prompt, engine="vqgan-clip", checkpoint="mini", style=None, count=4)
    drawn = [studio.finish(studio.run()) for _ in range(4 + 2 + 4 + 4)]

    for one, other in combinations(drawn[:4], 2):
        for voter in range(VOTERS):
            votes.cast(studio.db, voter=f"voter-{voter}", left_id=one.id, right_id=other.id, choice="left")
    (row,) = refinements.stages_of(studio.db, begun.id)
    for about in (sheet.id, row.submission.id):
        ranked(studio, opened, about, prompt)
    refinements.mark(studio.db, begun.id, drawn[-1].id, True)

    studio.enqueue(prompt, ME)
    studio.run(step=5)
    for owner in (SOMEBODY, ME):
        studio.enqueue(prompt, owner)
    return Evening(
        studio,
        drawn,
        {
            "generation": "",
            "refine": "refine",
            "refinement": f"refine?refinement={begun.id}",
            "compare": "compare",
            "sheets": "sheets",
            "sheet": f"sheets?sheet={sheet.id}",
            "comparison": f"sheets?sheet={comparison.id}",
            "gallery": "previous_inferences",
            "detail": f"previous_inferences?job={drawn[0].id}",
            "vote": "vote_images",
            "leaderboard": "leaderboard",
            "queue": "queue_page",
            "models": "models",
            "host": "host",
            "wall": "wall",
        },
    )


def ranked(studio: Studio, opened: context.Studio, submission_id: str, prompt: str) -> None:
    """CLIP ranks the pictures of a sheet, or says that it did."""
    files = artefacts.of_jobs(studio.db, [member.job.id for member in submissions.jobs_of(studio.db, submission_id)])
    pictures = [found["picture"].id for found in files.values()]
    sheet = submissions.get(studio.db, submission_id)
    job = rank(opened, Submitter(ME), sheet, pictures, prompt=prompt, clip=["mini"])
    studio.rank(job, {picture: 0.3 - place / 100 for place, picture in enumerate(pictures)})
