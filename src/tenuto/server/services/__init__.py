"""Background services: one loop per module, each with `run_once(now)`."""
