"""Benchmarks: one question a file, run by `benchmarks/run.py`."""
