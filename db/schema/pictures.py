"""What jobs have left, and what people make of it: sheets, refinements, boards, files, votes; datasets and models."""

from __future__ import annotations

import sqlalchemy as sa

from db.schema.base import metadata

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

# Pictures that a visitor keeps under a name of their own, or, where that is empty, as favourites.
boards = sa.Table(
    "boards",
    metadata,
    sa.Column("submitter", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("ix_boards_job", "job_id"),
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
