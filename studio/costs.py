"""How long what somebody is about to ask for takes here, told before they ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from db.errors import OverBudget
from db.queue import budget, estimate
from db.queue.paces import Cost
from generator.params import JobParams
from studio.context import Studio, Submitter
from studio.limits import in_force
from studio.submit import drawings, new_job, starting
from studio.wording import understood


@dataclass(frozen=True)
class Told:
    """takes_s: s until so many pictures are done where no others are drawn; cost_s: what one costs, in s of an executor
    that works on nothing else; None: not known yet. sure: measured with the same models and size; else it is the least
    that it can be. budget_s: what one may cost, None: no limit. refused: why these would be refused, None: they fit."""

    takes_s: float | None
    cost_s: float | None
    sure: bool
    budget_s: float | None
    refused: OverBudget | None


Costing = Callable[[str, str, int | None, int, int], tuple[Cost, float] | None]  # db.queue.estimate.cost of a database


def of(
    studio: Studio,
    submitter: Submitter,
    engine: str,
    params: JobParams,
    pictures: int = 1,
    costing: Costing | None = None,
) -> Told:
    """What so many jobs with these parameters take. costing: where it is known from a moment ago; None: from now."""
    new = new_job(studio, engine, params, read=False)
    budget_s = (in_force(studio, submitter).max_job_s or None) if new.budgeted else None
    costing = costing or partial(estimate.cost, studio.db)
    found = costing(new.engine, new.batch_key, new.pixels, new.total_steps, pictures)
    if found is None:
        return Told(None, None, False, budget_s, None)
    cost, takes_s = found
    refused = None
    try:
        if budget_s is not None:
            steps = new.total_steps if new.pixels else None
            budget.refuse(cost, steps, budget_s, alike=pictures, jobs=pictures)
    except OverBudget as error:
        refused = error
    return Told(takes_s, cost.seconds, cost.sure, budget_s, refused)


def together(studio: Studio, submitter: Submitter, wanted: Iterable[tuple[str, JobParams]]) -> Told:
    """What jobs of several kinds take, one kind after another; wanted: the engine and the parameters of each.

    cost_s: what the dearest of them costs.
    """
    kinds: dict[tuple[str, str, int], list[JobParams]] = {}
    for engine, params in wanted:
        kinds.setdefault((engine, params.batch_key, params.total_steps), []).append(params)
    told = [of(studio, submitter, engine, some[0], len(some)) for (engine, _, _), some in kinds.items()]
    takes, costs = [one.takes_s for one in told], [one.cost_s for one in told]
    return Told(
        None if None in takes else sum(s for s in takes if s is not None),
        None if None in costs else max((s for s in costs if s is not None), default=None),
        all(one.sure for one in told),
        min((one.budget_s for one in told if one.budget_s is not None), default=None),
        next((one.refused for one in told if one.refused is not None), None),
    )


def of_wish(studio: Studio, submitter: Submitter, engine: str, values: Mapping[str, Any], pictures: int = 1) -> Told:
    """The same, of settings as they are typed. Raises BadParams, UnknownName."""
    (params,) = drawings(engine, starting(values), 1, lambda typed: understood(studio, engine, typed).values)
    return of(studio, submitter, engine, params, pictures)
