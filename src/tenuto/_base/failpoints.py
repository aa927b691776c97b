"""Named points at which tests make the program fail."""


def failpoint(name: str) -> None:
    """Do nothing, unless a test has armed this point."""
