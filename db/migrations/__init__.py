"""Alembic migrations, run by `db.engine.connect` at start."""
