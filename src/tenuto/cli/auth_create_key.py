"""`tenuto auth create-key`: a key for people, programs or agents on other machines."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from tenuto.cli.display import display_of
from tenuto.cli.errors import Foreseen
from tenuto.cli.group import Command
from tenuto.server.domain.access import Role

__all__ = ["command"]

EXAMPLES = """
Examples:

  tenuto auth create-key -n laptop --role editor
  tenuto auth create-key -n worker-3 --role agent -e 2027-01-31 --quiet
"""


def parse_expiry(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """Return an aware time that lies ahead; a text without a zone is local."""
    from tenuto._base.datetimes import parse_datetime, utc_now

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        try:
            found = parse_datetime(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    if found <= utc_now():
        raise click.BadParameter(f"{text!r} lies in the past.")
    return found.astimezone(UTC)


@click.command("create-key", cls=Command, epilog=EXAMPLES)
@click.option("-n", "--name", required=True, help="Shown beside what is done with the key.")
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    default="operator",
    show_default=True,
    help="What the key may do.",
)
@click.option("-e", "--expire", "expires_at", callback=parse_expiry, metavar="TIME", help="default: never.")
@click.option("-q", "--quiet", is_flag=True, help="Print the key alone.")
@click.option("--json", "as_json", is_flag=True, help="Print id and key as JSON.")
@click.pass_context
def command(
    context: click.Context, name: str, role: str, expires_at: datetime | None, quiet: bool, as_json: bool
) -> None:
    """
    Make an API key of the server, and print it, this once: the server keeps only its digest.

    It takes a server that is there, and the right to make keys: on the server's own machine everybody who
    can read the home folder has it.
    """
    from tenuto.client.configured import configured_server
    from tenuto.client.http import HttpClient, RequestRefused

    display = display_of(context)
    asked = {"name": name, "role": role, "expires_at": expires_at and expires_at.isoformat()}
    client = HttpClient(configured_server)
    try:
        made = client.request("POST", "/api/v1/keys", json.dumps(asked).encode())
    except RequestRefused as error:
        raise Foreseen(str(error)) from error
    finally:
        client.close()
    if as_json:
        display.result(json.dumps(made))
        return
    if quiet:
        display.result(made["key"])
        return
    display.notice("This key is shown once: keep it where others cannot read it.")
    display.result(f"Successfully created key: {made['key']}")
