"""What all tables belong to."""

from __future__ import annotations

import sqlalchemy as sa

# The newest migration: a database that carries this revision needs nothing done at start.
REVISION = "0021"

metadata = sa.MetaData()
