"""Jobs, what happens to them and who does them."""

from __future__ import annotations

import sqlalchemy as sa

from db.schema.base import metadata

STYLE = 64  # characters


def _index(name: str, *columns: str, where: str) -> sa.Index:
    """An index of those rows alone in which that column is set: whoever writes another one does not touch it."""
    is_set = sa.text(f"{where} IS NOT NULL")
    return sa.Index(name, *columns, sqlite_where=is_set, postgresql_where=is_set)


jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("engine", sa.String(64), nullable=False),
    sa.Column("checkpoint", sa.String(128), nullable=False),
    sa.Column("batch_key", sa.String(255), nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    # Casefolded, blanks collapsed, cut: what search looks in and what makes two jobs "the same prompt".
    sa.Column("prompt_search", sa.String(500), nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("submitter", sa.String(128), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("total_steps", sa.Integer, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("steps_per_s", sa.Double),
    sa.Column("error_kind", sa.String(64)),
    sa.Column("error", sa.Text),
    sa.Column("worker_id", sa.String(128)),
    sa.Column("lease_expires_at", sa.Double),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False),
    sa.Column("parent_id", sa.String(32), sa.ForeignKey("jobs.id")),
    sa.Column("source_artefact_id", sa.String(32)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    # Last, so that SQLite does not read through it to reach the other columns.
    sa.Column("history", sa.JSON, nullable=False),
    # Added later, so behind it. turn: a stamp (see db/jobs.py), when it was claimed in the order of all stamps; what
    # clocks say of it is started_at. lease_s: how long its lease is, so that one further ahead than that is found.
    sa.Column("turn", sa.String(32)),
    sa.Column("lease_s", sa.Double),
    # What stands for the address it was asked for from, see studio/context.py; NULL: not known.
    sa.Column("address", sa.String(64)),
    # What a running job waits for: "store", a finished one that cannot be stored yet; NULL: nothing.
    sa.Column("waits_for", sa.String(16)),
    # Executors were lost while it ran (losses: how many): it is a suspect, which runs alone until it is well past the
    # step it was at then. suspect_ran_s: for how long it had run, in s, when it first was. lost_alone: how often it was
    # lost and alone since it was a suspect last. See db/queue/suspects.py.
    sa.Column("suspect_step", sa.Integer),
    sa.Column("suspect_ran_s", sa.Double),
    sa.Column("losses", sa.Integer),
    sa.Column("lost_alone", sa.Integer),
    # It failed, and the host had it tried again as this job.
    sa.Column("retried_as", sa.String(32)),
    # When it was deleted: nothing is left of it then but that it was there; see db/evening/deleting.py.
    sa.Column("deleted_at", sa.Double),
    # What it has cost so far, in s of the device that it had to itself, and what it may cost; NULL: no limit.
    sa.Column("spent_s", sa.Double),
    sa.Column("budget_s", sa.Double),
    # s it held a place before the last claim, and the step it had then made.
    sa.Column("ran_s", sa.Double),
    sa.Column("from_step", sa.Integer),
    # px of the picture it draws, NULL where that says nothing about a step.
    sa.Column("pixels", sa.BigInteger),
    # What its owner wants of it, see db/queue/asking.py: "pause", it waits until it is to go on; "keep", it ends with
    # what it has by then; NULL: nothing.
    sa.Column("asked", sa.String(16)),
    # Whether the host lets its picture onto the wall, where that is asked for (host_rules.wall_approval); NULL: not
    # decided. See db/evening/wall.py.
    sa.Column("on_wall", sa.Boolean),
    # Its setting of that name, where it is no longer than STYLE characters: what the gallery is often narrowed to.
    sa.Column("style", sa.String(STYLE)),
    # Newest-first pages under each filter; with the state in front, a page is read off the end of the index.
    sa.Index("ix_jobs_state", "state", "id"),
    sa.Index("ix_jobs_engine", "engine", "state", "id"),
    sa.Index("ix_jobs_submitter", "submitter", "state", "id"),
    _index("ix_jobs_style", "style", "state", "id", where="style"),
    # Holds all that a search looks at, so that 100,000 wide rows need not be read.
    sa.Index("ix_jobs_search", "id", "hidden", "state", "engine", "submitter", "prompt_search"),
    # The head of each submitter's line, and when each was last served.
    sa.Index("ix_jobs_line", "state", "submitter", sa.desc("priority"), "id"),
    _index("ix_jobs_served", "submitter", "turn", where="turn"),
    # The newest turn of all.
    _index("ix_jobs_turn", "turn", where="turn"),
    # What recent jobs of an engine have taken.
    _index("ix_jobs_finished", "engine", "state", "finished_at", where="finished_at"),
    # What was made from a job.
    _index("ix_jobs_parent", "parent_id", "id", where="parent_id"),
    # What one address has asked for.
    _index("ix_jobs_address", "address", "state", "id", where="address"),
    # When one address was last served, and what it has asked for lately.
    _index("ix_jobs_address_turn", "address", "turn", where="turn"),
    _index("ix_jobs_address_id", "address", "id", where="address"),
    # The suspects that wait or run. Of all that wait it would look like the best one to PostgreSQL.
    _index("ix_jobs_suspect", "state", "suspect_step", where="suspect_step"),
    # What the host has let onto the wall, and what waits for that.
    sa.Index("ix_jobs_wall", "on_wall", "state", "id"),
    # The gallery in the order of the scores.
    _index("ix_jobs_score", "state", "score", "id", where="score"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("worker_id", sa.String(128)),
    sa.Column("detail", sa.Text),
    sa.Index("ix_events_job", "job_id", "id"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("device", sa.String(128), nullable=False),
    sa.Column("engines", sa.JSON, nullable=False),
    sa.Column("places", sa.Integer, nullable=False),
    sa.Column("hostname", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("status", sa.String(255), nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("beat_at", sa.Double, nullable=False),
    sa.Column("stopped_at", sa.Double),
    # Its work folder on that machine, and the newest erasure that it has carried out there.
    sa.Column("folder", sa.String(1024)),
    sa.Column("erased", sa.Integer),
    # How it shares: s after which a job makes room for others, and the most of all places one submitter gets while
    # others wait; NULL: it does not.
    sa.Column("slice_s", sa.Double),
    sa.Column("share", sa.Double),
    sa.Index("ix_workers_beat", "beat_at"),
)

# What executors have to remove from their machines: of one job, or where that is NULL of every job whose id sorts
# before the stamp. See db/evening/erasures.py.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("stamp", sa.String(32), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("job_id", sa.String(32)),
)

# Requests of programs that carried a key of their own making: the same one again is answered with the same jobs.
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("submitter", sa.String(128), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("job_ids", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Index("ix_orders_created", "created_at"),
)

# Whom to tell when a job has ended. due_at: when to try next; NULL: told, or given up after so many tries. since: when
# that wait began, so that a clock which is set back before it does not lengthen it.
webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret", sa.String(255), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Double),
    sa.Column("told_at", sa.Double),
    sa.Column("error", sa.Text),
    sa.Column("since", sa.Double),
    sa.Index("ix_webhooks_due", "due_at"),
)
