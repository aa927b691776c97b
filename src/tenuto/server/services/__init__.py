"""Background services: one per module, each with `run_once`; `loop.py` runs them."""
