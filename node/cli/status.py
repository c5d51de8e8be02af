"""``zvmd status``: what a running node says of itself."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from node.cli.link import link_options, open_link
from node.cli.output import print_json, say


@click.command()
@click.option("--ready", is_flag=True, help="Print nothing; exit 0 if the node answers.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@link_options
def status(ready: bool, as_json: bool, http: bool, url: str | None, data_dir: str | None) -> None:
    """Positions of log, checkpoint and index; pool; periodic jobs."""
    with open_link(http, url, data_dir) as link:
        answer: dict[str, Any] = link.rpc("zvmd_status")
    if ready:
        sys.exit(0)
    if as_json:
        print_json(answer)
        return
    log, index = answer["log"], answer["index"]
    say(f"{answer['version']}  chain {answer['chainId']}  {'READ-ONLY' if answer['readOnly'] else 'serving'}")
    say(f"head        block {answer['head']['number']}  {answer['head']['hash']}")
    since = f", from LSN {log['firstLsn']} on (pruned)" if log["firstLsn"] > 1 else ""
    say(f"log         LSN {log['durableLsn']} durable, {log['lastLsn']} written{since}")
    say(f"checkpoint  block {answer['checkpointBlock']}, LSN {log['checkpointLsn']}; states from block "
               f"{answer['oldestState']}; {answer['overlayBytes'] / 2**20:.1f} MiB above it")
    say(f"index       block {index['block']}{' (catching up)' if index['indexing'] else ''}")
    sealing = "at once" if answer["automine"] else "on demand"
    if answer["intervalSeconds"]:
        sealing = f"every {answer['intervalSeconds']} s"
    say(f"pool        {answer['poolTransactions']} transactions, sealed {sealing}")
    if kept := answer.get("sessions"):
        say(f"sessions    {kept['sessions']} kept ({kept['pinned']} pinned), {kept['ready']} ready, "
                   f"{kept['inUse']} in use; {kept['bytes'] / 2**20:.1f} MiB, {kept['files']} in files; "
                   f"{kept['removed']} removed")
    vm = answer["vm"]
    say(f"engine      {vm['engine']}; {vm['compiled']} contracts compiled ({vm['machineCodeBytes'] / 2**20:.1f} "
               f"MiB), {vm['loaded']} from the cache ({vm['rejected']} refused); {vm['entered']} frames began in "
               f"compiled code, {vm['deoptimised']} opcodes left to the interpreter")
    own, files = (answer["memory"][name] / 2**20 for name in ("own", "files"))
    say(f"memory      {own:.0f} MiB, and {files:.0f} MiB of mapped files")
    if logged := answer.get("logging"):
        say(f"logging     {logged['lines']} lines, {logged['suppressed']} left out as there were many of their "
                   f"kind, {logged['dropped']} lost as nobody read them")
    if restarts := answer.get("restarts"):
        say("restarts    " + ", ".join(f"{name}: {count}" for name, count in restarts.items()))
    for name, size in answer["limits"].items():
        say(f"limit       {name}: {'' if size['used'] is None else str(size['used']) + ' of '}{size['max']}")
    for job in answer["jobs"]:
        last = job["lastError"] or job["lastResult"] or "not yet run"
        if job["runningSince"] is not None:
            last += f"; running for {time.time() - job['runningSince']:.0f} s"
        say(f"job         {job['name']}: every {job['intervalSeconds']:g} s, {job['runs']} runs, "
                   f"{job['failures']} failures, last: {last}")
