"""Names of state classes as they stand in records. Readers of old runs need no state classes."""

__all__ = ["FAILED_STATES", "FINAL_STATES", "SUCCESSFUL_STATES"]

SUCCESSFUL_STATES = frozenset({"Success", "Cached", "Mapped", "Skipped"})
FAILED_STATES = frozenset({"Failed", "TimedOut", "TriggerFailed", "ValidationFailed"})
FINAL_STATES = SUCCESSFUL_STATES | FAILED_STATES | {"Cancelled", "Finished"}
