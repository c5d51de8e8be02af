"""``zvmd session share|watch|drive ...``: sharing sessions with others."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Any

import click

from node.cli.duration import Duration
from node.cli.link import link_options, open_link
from node.cli.output import print_json, print_json_line, say
from node.cli.session_command import SESSION, ask, json_option, session_argument
from node.cli.session_view import show_event


@click.command()
@session_argument
@click.option("--role", type=click.Choice(["watch", "drive"]), default="watch", show_default=True)
@click.option("--ttl", type=Duration(), default="1h", show_default=True, help="How long the token is valid.")
@click.option("--name", default="", help="A name for the recipient.")
@json_option
def share(session_id: int | str, role: str, ttl: int, name: str, as_json: bool, **link: Any) -> None:
    """Print a token for somebody else, who uses it as ID and as ZVMD_TOKEN. It is shown only once."""
    answer = ask("share", session_id, role, ttl, name, **link)
    print_json(answer) if as_json else say(answer["token"])


@click.command()
@click.argument("session_id", metavar="ID|TOKEN", type=SESSION)
@click.option("--take-over", is_flag=True, help="Also if somebody else is in control.")
@link_options
def drive(session_id: int | str, take_over: bool, **link: Any) -> None:
    """Take control: one drives at a time, all others watch."""
    ask("drive", session_id, {"takeOver": take_over}, **link)


@click.command()
@click.argument("session_id", metavar="ID|TOKEN", type=SESSION)
@link_options
def release(session_id: int | str, **link: Any) -> None:
    """Release control: the next one to move the session takes it."""
    ask("release", session_id, **link)


@click.command()
@click.argument("session_id", metavar="ID|TOKEN", type=SESSION)
@click.option("--resume", type=int, metavar="CURSOR", help="Continue after this event.")
@click.option("--count", type=int, help="Stop after this many events.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON, one per line.")
@link_options
def watch(
    session_id: int | str,
    resume: int | None,
    count: int | None,
    as_json: bool,
    http: bool,
    url: str | None,
    data_dir: str | None,
) -> None:
    """Follow a session live: every command its driver gives, where the session is then, what it changed."""
    with open_link(http, url, data_dir) as link, closing(link.watch(session_id, resume)) as events:
        for event in islice(events, count):
            print_json_line(event.json) if as_json else say(show_event(event.json))
