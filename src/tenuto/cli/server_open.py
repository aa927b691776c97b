"""`tenuto server open`: a session of the browser, without a key to be typed in."""

from __future__ import annotations

import click

from tenuto.cli.display import display_of
from tenuto.cli.errors import Foreseen
from tenuto.cli.group import Command

__all__ = ["command"]

EXAMPLES = """
Examples:

  tenuto server open
  tenuto server open --url
"""


@click.command("open", cls=Command, epilog=EXAMPLES)
@click.option("--url", "only_url", is_flag=True, help="Print the address alone, and open nothing.")
@click.pass_context
def command(context: click.Context, only_url: bool) -> None:
    """
    Open the server in the browser.

    The address opens one session, within 30 seconds, with the rights of the key that this command uses.
    """
    from tenuto.client.configured import configured_server
    from tenuto.client.http import HttpClient, RequestRefused

    display = display_of(context)
    client = HttpClient(configured_server)
    try:
        url = client.request("POST", "/api/v1/tickets")["url"]
    except RequestRefused as error:
        raise Foreseen(str(error)) from error
    finally:
        client.close()
    display.result(url)
    if not only_url:
        click.launch(url)
