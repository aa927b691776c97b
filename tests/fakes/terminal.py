"""What stands on a terminal after text with the few codes that the command line writes."""

import re

ERASE = "\r\x1b[2K"
UP_AND_ERASE = "\x1b[1A\x1b[2K"


def screen_lines(output: str) -> list[str]:
    """Return the lines of the screen: what was erased again is not there."""
    lines = [""]
    for piece in re.split(f"({re.escape(ERASE)}|{re.escape(UP_AND_ERASE)}|\n)", output):
        if piece == "\n":
            lines.append("")
        elif piece == ERASE:
            lines[-1] = ""
        elif piece == UP_AND_ERASE:
            assert lines.pop() == "", "what stood on the line below is still there"
            lines[-1] = ""
        else:
            lines[-1] += piece
    return lines
