"""Attacks on a running node beside a healthy client: `python -m benchmarks.attacks`."""
