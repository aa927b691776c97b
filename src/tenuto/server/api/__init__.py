"""The REST API: one router per resource. No rules here."""
