"""A run's local record: the event type, its file, and what can be read from it."""
