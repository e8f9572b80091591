"""What is seen in pictures, and what was searched for. What is done with these tables is in db/search/."""

from __future__ import annotations

import sqlalchemy as sa

from db.schema.base import metadata

# What a CLIP sees in the picture of a job. space: which CLIP, with which weights; only vectors of one space can be
# compared. vector: (D,) float16 of unit length; NULL: there is nothing to be seen, e.g. of what was deleted. Rows are
# never changed: what is another is another row, with a new number, so that whoever has read up to a number reads on.
embeddings = sa.Table(
    "embeddings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("space", sa.String(96), nullable=False),
    sa.Column("vector", sa.LargeBinary),
    sa.UniqueConstraint("job_id", "space", name="uq_embeddings_job_space"),
    sa.Index("ix_embeddings_space", "space", "id"),
    sqlite_autoincrement=True,  # no number is given twice
)

# What was searched for. Pages and API have no CLIP: an executor reads it. digest: of the words, or of the picture; they
# themselves are there only until they are read. problem: why it cannot be read, a sentence. asked_at: since when it
# waits, in UTC s; NULL once it was read.
searches = sa.Table(
    "searches",
    metadata,
    sa.Column("space", sa.String(96), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("words", sa.Text),
    sa.Column("picture", sa.LargeBinary),
    sa.Column("vector", sa.LargeBinary),
    sa.Column("problem", sa.Text),
    sa.Column("asked_at", sa.Double),
    sa.Column("made_at", sa.Double, nullable=False),
    sa.Index("ix_searches_asked", "asked_at"),
    sa.Index("ix_searches_made", "made_at"),
)
