"""Flows and states to JSON and back, versioned."""
