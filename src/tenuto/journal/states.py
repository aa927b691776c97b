"""Names of state classes as they stand in records. Readers of old runs need no state classes."""

__all__ = ["FAILED_STATES", "FINAL_STATES", "SUCCESSFUL_STATES", "WAITING_STATES"]

SUCCESSFUL_STATES = frozenset({"Success", "Cached", "Mapped", "Skipped"})
FAILED_STATES = frozenset({"Failed", "TimedOut", "TriggerFailed", "ValidationFailed"})
FINAL_STATES = SUCCESSFUL_STATES | FAILED_STATES | {"Cancelled", "Finished"}
WAITING_STATES = frozenset({"Paused", "Scheduled", "Resume", "Retrying"})
"""States in which a record may rest without a process: they name what the run waits for."""
