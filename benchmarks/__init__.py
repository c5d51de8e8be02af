"""Measurements that name their rivals: every number beside one of the same work in the same run."""
