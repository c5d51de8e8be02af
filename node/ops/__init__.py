"""Operations: supervision, logs, periodic jobs."""
