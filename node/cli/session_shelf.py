"""``zvmd session list|pin|template``: finding and pinning sessions; the gallery of templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from node.cli.link import link_options
from node.cli.output import print_json, say
from node.cli.session_command import ask, json_option
from node.cli.session_view import show_list, show_template, show_templates


@click.command("list")
@click.option("--name", help="Part of the name.")
@click.option("--tag")
@click.option("--contract", help="The called address.")
@click.option("--transaction", help="Hash of the debugged transaction.")
@click.option("--code-hash", help="Keccak-256 of the code that runs first.")
@click.option("--fork")
@click.option("--halt", help="stop, return, revert, out_of_gas ...; none: not ended.")
@click.option("--pinned/--not-pinned", default=None)
@click.option("--used-from", type=int, help="Used since, Unix seconds.")
@click.option("--used-to", type=int, help="Not used since, Unix seconds.")
@click.option("--limit", type=int, help="Lines at most.")
@click.option("--cursor", type=int, help="Id in the last line of the previous page.")
@json_option
def list_(as_json: bool, http: bool, url: str | None, data_dir: str | None, **search: Any) -> None:
    """Show sessions, the newest first."""
    words = {name: value for name, value in search.items() if value is not None}
    chosen = {first + "".join(map(str.capitalize, rest)): value
              for name, value in words.items() for first, *rest in [name.split("_")]}
    answer = ask("list", chosen, http=http, url=url, data_dir=data_dir)
    print_json(answer) if as_json else show_list(answer)


@click.command()
@click.argument("session_id", metavar="ID", type=int)
@click.option("--off", is_flag=True, help="Unpin it, so that it can expire.")
@link_options
def pin(session_id: int, off: bool, **link: Any) -> None:
    """Pin a session, so that it never expires."""
    ask("pin", session_id, not off, **link)


@click.group()
def template() -> None:
    """Programs to learn from, and your own."""


@template.command("list")
@json_option
def template_list(as_json: bool, **link: Any) -> None:
    """Show all templates."""
    answer = ask("template_list", **link)
    print_json(answer) if as_json else show_templates(answer)


@template.command("show")
@click.argument("name")
@json_option
def template_show(name: str, as_json: bool, **link: Any) -> None:
    """Explain a template."""
    answer = ask("template_show", name, **link)
    print_json(answer) if as_json else show_template(answer)


@template.command("save")
@click.argument("source", metavar="ID|FILE")
@click.argument("name", required=False)
@click.option("--title", default="")
@click.option("--explanation", default="")
@link_options
def template_save(source: str, name: str | None, title: str, explanation: str, **link: Any) -> None:
    """Save a session's program as template NAME, or a template from a TOML FILE, whose run must end as it says."""
    if source.isdecimal():
        if name is None:
            raise click.UsageError("give the new template a NAME")
        wanted: dict[str, Any] = {"session": int(source), "name": name, "title": title, "explanation": explanation}
    else:
        wanted = {"toml": Path(source).read_text(encoding="utf-8")}
    answer = ask("template_save", wanted, **link)
    say(f"{answer['name']}: ends with {answer['expected']['halt']} after {answer['expected']['steps']} steps"
               if "steps" in answer["expected"] else answer["name"])


@template.command("remove")
@click.argument("name")
@link_options
def template_remove(name: str, **link: Any) -> None:
    """Remove one of your own templates."""
    ask("template_remove", name, **link)
