"""The index's writer as a process of its own: the daemon imports neither SQLAlchemy nor alembic."""
