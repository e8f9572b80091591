"""Tables of the queue. Times are UTC seconds since 1970 (float), ids are text that sorts in the order of making.

The tables as they are now; how an older database becomes this one is in `db/migrations/`.
"""

from __future__ import annotations

import sqlalchemy as sa

# The newest migration: a database that carries this revision needs nothing done at start.
REVISION = "0016"

metadata = sa.MetaData()

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
    # Newest-first pages under each filter; with the state in front, a page is read off the end of the index.
    sa.Index("ix_jobs_state", "state", "id"),
    sa.Index("ix_jobs_engine", "engine", "state", "id"),
    sa.Index("ix_jobs_submitter", "submitter", "state", "id"),
    # Holds all that a search looks at, so that 100,000 wide rows need not be read.
    sa.Index("ix_jobs_search", "id", "hidden", "state", "engine", "submitter", "prompt_search"),
    # The head of each submitter's line, and when each was last served.
    sa.Index("ix_jobs_line", "state", "submitter", sa.desc("priority"), "id"),
    sa.Index("ix_jobs_served", "submitter", "turn"),
    # The newest turn of all.
    sa.Index("ix_jobs_turn", "turn"),
    # What recent jobs of an engine have taken.
    sa.Index("ix_jobs_finished", "engine", "state", "finished_at"),
    # What was made from a job.
    sa.Index("ix_jobs_parent", "parent_id", "id"),
    # What one address has asked for.
    sa.Index("ix_jobs_address", "address", "state", "id"),
    # When one address was last served, and what it has asked for lately.
    sa.Index("ix_jobs_address_turn", "address", "turn"),
    sa.Index("ix_jobs_address_id", "address", "id"),
    # The suspects that wait or run.
    sa.Index("ix_jobs_suspect", "state", "suspect_step"),
)

# Jobs that were asked for together. layout: how their sheet is laid out, e.g. the two parameters of a comparison.
submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("submitter", sa.String(128), nullable=False),
    sa.Column("layout", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Index("ix_submissions_submitter", "submitter", "id"),
)

members = sa.Table(
    "members",
    metadata,
    sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("submission_id", sa.String(32), sa.ForeignKey("submissions.id"), nullable=False),
    # The place on the sheet, from 0; NULL for a job about the whole set, as a ranking.
    sa.Column("cell", sa.Integer),
    sa.Column("label", sa.String(255), nullable=False),
    sa.Index("ix_members_submission", "submission_id", "cell"),
)

# A prompt worked on in rows (stages), each a submission made from what was marked in an earlier one. Who knows the id
# may go on with it. version: counts every change, so that a page knows when there is something new to draw.
refinements = sa.Table(
    "refinements",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("submitter", sa.String(128), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Index("ix_refinements_submitter", "submitter", "id"),
)

# settings: what the row's next step is set to.
stages = sa.Table(
    "stages",
    metadata,
    sa.Column("submission_id", sa.String(32), sa.ForeignKey("submissions.id"), primary_key=True),
    sa.Column("refinement_id", sa.String(32), sa.ForeignKey("refinements.id"), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.UniqueConstraint("refinement_id", "place", name="uq_stages_place"),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("refinement_id", sa.String(32), sa.ForeignKey("refinements.id"), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("ix_marks_refinement", "refinement_id"),
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

artefacts = sa.Table(
    "artefacts",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id")),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("key", sa.String(255), nullable=False, unique=True),
    sa.Column("media_type", sa.String(128), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("created_at", sa.Double, nullable=False),
    # Who gave it, and what stands for their address, where it was sent here; NULL: what a job has made.
    sa.Column("giver", sa.String(128)),
    sa.Column("address", sa.String(64)),
    # When a picture that was given goes unless a job names it by then, in UTC s; NULL: it stays.
    sa.Column("due_at", sa.Double),
    sa.UniqueConstraint("job_id", "kind", name="uq_artefacts_job_kind"),
    sa.Index("ix_artefacts_giver", "giver", "id"),
    sa.Index("ix_artefacts_address", "address", "id"),
    sa.Index("ix_artefacts_due", "due_at"),
)

# Captioned pictures that models are trained from. key: of one zip in the store; report: what was found when it was
# checked; address: as an artefact's. See db/datasets/records.py.
datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("submitter", sa.String(128), nullable=False),
    sa.Column("address", sa.String(64)),
    sa.Column("key", sa.String(255), nullable=False, unique=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column("licence", sa.String(200), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Index("ix_datasets_submitter", "submitter", "id"),
    sa.Index("ix_datasets_address", "address", "id"),
)

# Models that jobs have trained, by the name a job says to draw with them: KIND/NAME. key: of the file in the store, one
# .safetensors or a .zip of several; card: what it was made from and how, see db/models/trained.py.
trained_models = sa.Table(
    "trained_models",
    metadata,
    sa.Column("name", sa.String(160), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    # NULL: it was brought along as a file.
    sa.Column("job_id", sa.String(32)),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("licence", sa.String(200), nullable=False),
    sa.Column("submitter", sa.String(128), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("card", sa.JSON, nullable=False),
    sa.Index("ix_trained_models_job", "job_id"),
)

votes = sa.Table(
    "votes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("voter", sa.String(128), nullable=False),
    # The smaller id first, so that a pair is the same pair whichever side each picture was on.
    sa.Column("first_id", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("second_id", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("winner_id", sa.String(32), sa.ForeignKey("jobs.id")),
    sa.Column("left_id", sa.String(32), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    # What stands for the voter's address, and since when the voter's id is known, in UTC s; NULL: not known.
    sa.Column("address", sa.String(64)),
    sa.Column("voter_since", sa.Double),
    sa.UniqueConstraint("voter", "first_id", "second_id", name="uq_votes_once"),
    sa.Index("ix_votes_first", "first_id"),
    sa.Index("ix_votes_second", "second_id"),
    sa.Index("ix_votes_address", "address", "id"),
)

# One row: what this database is told from every other by, see db/identity.py.
studio = sa.Table("studio", metadata, sa.Column("id", sa.String(32), primary_key=True))

# What the host has set while the studio runs; what is not here is as settings.py says. See db/rules/host_rules.py.
host_settings = sa.Table(
    "host_settings",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("changed_at", sa.Double, nullable=False),
)

# Only visitors who gave a name, were banned or have shown the event's code have a row. code: what stands for the one
# they have shown, see db/rules/event_code.py.
visitors = sa.Table(
    "visitors",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(40)),
    sa.Column("banned_at", sa.Double),
    sa.Column("changed_at", sa.Double, nullable=False),
    sa.Column("code", sa.String(64)),
)

# Addresses that queue and votes are closed to. until: UTC s; NULL: until the host opens them again.
banned_addresses = sa.Table(
    "banned_addresses",
    metadata,
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("banned_at", sa.Double, nullable=False),
    sa.Column("until", sa.Double),
)

# What the host did to several visitors at once, so that it can be taken back: see db/evening/bulk.py.
bulk_actions = sa.Table(
    "bulk_actions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("done", sa.JSON, nullable=False),
    sa.Column("undone_at", sa.Double),
)

# What programs show to be let in: a key is kept as its SHA-256 alone. scope: read, submit or host, each with those
# before it. max_queued, max_per_hour: its own limits; NULL: those of everybody.
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("max_queued", sa.Integer),
    sa.Column("max_per_hour", sa.Integer),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("revoked_at", sa.Double),
)

# Browsers in which the host has signed in. sha256: of what its cookie holds; NULL until the browser has fetched that
# with the ticket (kept as its SHA-256 too), once and before ticket_until. credential: of the password then, so that
# another one ends it. label: the browser in words.
host_sessions = sa.Table(
    "host_sessions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("sha256", sa.String(64), unique=True),
    sa.Column("ticket", sa.String(64), unique=True),
    sa.Column("ticket_until", sa.Double),
    sa.Column("label", sa.String(80), nullable=False),
    sa.Column("credential", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
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
