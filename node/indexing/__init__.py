"""Writes the index in a process of its own, so that the daemon imports neither SQLAlchemy nor alembic."""
