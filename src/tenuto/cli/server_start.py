"""`tenuto server start`: one process with store, API and services."""

from __future__ import annotations

import click

from tenuto.cli.display import display_of
from tenuto.cli.group import Command

__all__ = ["command"]

ADOPTER_SECONDS = 2.0

EXAMPLES = """
Examples:

  tenuto server start
  tenuto server start --port 0 --db /data/tenuto.db
  tenuto server start --db postgresql://tenuto@db.example/tenuto
"""


@click.command("start", cls=Command, epilog=EXAMPLES)
@click.option("--host", help="Where to listen. [default: 127.0.0.1]")
@click.option("--port", "--server-port", type=click.IntRange(0, 65535), help="0 takes a free one. [4200]")
@click.option("--expose", is_flag=True, help="Listen on all addresses of this machine; needs an API key.")
@click.option("--db", "--postgres-url", "database", metavar="PATH|URL", help="[default: HOME/tenuto.db]")
@click.option("--base-path", metavar="PATH", help="In front of every path, behind a proxy.")
@click.option("--no-auth", is_flag=True, help="Ask for no key; on this machine only.")
@click.option("--no-services", is_flag=True, help="Serve requests only: no scheduler, no rescue.")
@click.pass_context
def command(
    context: click.Context,
    host: str | None,
    port: int | None,
    expose: bool,
    database: str | None,
    base_path: str | None,
    no_auth: bool,
    no_services: bool,
) -> None:
    """
    Start the server, in the foreground.

    It keeps what runs report in one file, or in PostgreSQL. Ctrl-C stops it in order; nothing that was
    acknowledged is lost.
    """
    from tenuto.client.configured import ServerAddress
    from tenuto.client.shipping import AdoptionThread
    from tenuto.configuration import config, home_path
    from tenuto.server.serve import Running, serve
    from tenuto.server.settings import Settings

    display = display_of(context)
    settings = Settings.from_config(
        config.server,
        home_path(),
        host="0.0.0.0" if expose and host is None else host,
        port=port,
        database=database,
        base_path=base_path,
        auth=False if no_auth else None,
        services=False if no_services else None,
    )

    adopters: list[AdoptionThread] = []

    def ready(running: Running) -> None:
        display.line(f"Database: {settings.database_shown}")
        display.result(f"Tenuto server ready at {running.url}")
        if running.ticket:
            display.line(f"Open it within 30 s: {running.open_url}\nLater: tenuto server open")
        display.flush()
        if settings.services and (running.key or not settings.auth):
            # Runs that were made before the server existed, and those whose process does not ship them.
            adopters.append(AdoptionThread(settings.home, lambda: ServerAddress(running.url, running.key)))
            adopters[0].start()

    try:
        serve(settings, ready)
    finally:
        for adopter in adopters:
            adopter.end(ADOPTER_SECONDS)
