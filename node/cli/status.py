"""``zvmd status``: the state of a running node."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import click

from node.cli.link import link_options, open_link
from node.cli.output import print_json, say_row

Row = tuple[str, str]
"""A name and the text for it."""
BAD = "red"
SOCKET_CHARACTERS_MAX = 66
MIB = 2**20


@click.command()
@click.option("--ready", is_flag=True, help="Print nothing; exit 0 if the node answers.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--verbose", "-v", is_flag=True, help="Also show limits with their use, and every periodic job.")
@link_options
def status(ready: bool, as_json: bool, verbose: bool, http: bool, url: str | None, data_dir: str | None) -> None:
    """Show log, checkpoint and index; pool, sessions, engine; and what needs attention."""
    with open_link(http, url, data_dir) as link:
        answer: dict[str, Any] = link.rpc("zvmd_status")
    if ready:
        sys.exit(0)
    if as_json:
        print_json(answer)
        return
    read_only = answer["readOnly"]
    say_row("node", f"{answer['version']}  chain {answer['chainId']}")
    say_row("serving", "reads only: the disk is full" if read_only else "yes", BAD if read_only else "green")
    for rows in (_chain(answer), _machine(answer), _limits(answer) if verbose else ()):
        for name, text in rows:
            say_row(name, text)
    for job in answer["jobs"]:
        if verbose or job["lastError"]:
            say_row("job", _job(job), BAD if job["lastError"] else None)
    if not verbose:
        failing = sum(bool(job["lastError"]) for job in answer["jobs"])
        say_row("jobs", f"{len(answer['jobs'])} periodic jobs, {failing} failing; -v shows them and the limits")


def _chain(answer: dict[str, Any]) -> Iterator[Row]:
    log, index, head = answer["log"], answer["index"], answer["head"]
    yield "head", f"block {head['number']}  {head['hash'][:18]}...{head['hash'][-8:]}"
    since = f", from LSN {log['firstLsn']} on (pruned)" if log["firstLsn"] > 1 else ""
    yield "log", f"LSN {log['durableLsn']} durable, {log['lastLsn']} written{since}"
    written = answer["checkpointBlock"]
    upto = f"block {written}, LSN {log['checkpointLsn']}" if written >= 0 else "none yet"
    yield "checkpoint", f"{upto}; {answer['overlayBytes'] / MIB:.1f} MiB above it"
    yield "states", f"from block {max(answer['oldestState'], 0)} on"
    if kept := answer.get("stateStore"):
        other = kept["setting"] not in ("auto", kept["engine"])
        note = f"; storage.engine = {kept['setting']} is for new directories, see `zvmd migrate-store`"
        yield "store", kept["engine"] + (note if other else "")
    yield "index", _index(index)
    sealing = "at once" if answer["automine"] else "on demand"
    if answer["intervalSeconds"]:
        sealing = f"every {answer['intervalSeconds']:g} s"
    yield "pool", f"{answer['poolTransactions']} transactions, sealed {sealing}"
    if genesis := answer.get("devGenesis"):
        added = ", ".join(genesis["newerAdd"])
        newer = f"; version {genesis['newest']}, for new directories, adds {added}" if added else ""
        yield "genesis", f"of --dev, version {genesis['version']}{newer}"
    if names := answer.get("devContracts"):
        yield "contracts", ", ".join(names)


def _index(index: dict[str, Any]) -> str:
    process, behind = index["process"], ""
    if index["indexing"]:
        behind = f", {index['behind']} behind ({index['inMemory']} transactions)"
    pid, losses = process.get("pid"), process.get("losses")
    writer = f"process {pid}, {process['memoryBytes'] / MIB:.0f} MiB" if pid else "no process"
    lost = f"; lost {losses} times, last: {process['lastLoss']}" if losses else ""
    upto = f"block {index['block']}" if index["block"] >= 0 else "no block yet"
    return f"{upto}{behind}; {writer}{lost}"


def _machine(answer: dict[str, Any]) -> Iterator[Row]:
    if kept := answer.get("sessions"):
        size = f"{kept['bytes'] / MIB:.1f} MiB"
        yield "sessions", f"{kept['sessions']} kept ({kept['pinned']} pinned), {kept['inUse']} in use; {size}"
    vm = answer["vm"]
    compiler = f"; compiler {pid}" if (pid := vm.get("compilerProcess")) else ""
    yield "engine", f"{vm['engine']}; {vm['compiled']} contracts compiled, {vm['loaded']} from the cache{compiler}"
    if (cache := answer.get("answerCache")) and cache["bytesMax"]:
        asked = cache["hits"] + cache["misses"]
        yield "calls", f"{cache['hits']} of {asked} answered from the cache, which holds {cache['bytes'] / MIB:.1f} MiB"
    own, files = (answer["memory"][name] / MIB for name in ("own", "files"))
    yield "memory", f"{own:.0f} MiB, and {files:.0f} MiB of mapped files"
    if quic := answer.get("quic"):
        http3 = answer.get("http3")
        used = f"; HTTP/3: {http3['connections']} connections, {http3['requests']} requests" if http3 else ""
        yield "quic", f"{quic['library']} {quic['version']}{used}"
    if sockets := answer.get("sockets"):
        yield "sockets", _sockets(sockets)
    if tls := answer.get("tls"):
        until = time.strftime("%Y-%m-%d", time.gmtime(tls["notAfter"]))
        if tls["problem"]:
            yield "tls", f"until {until}; newer files cannot be used, `zvmd status --json` says why"
        else:
            ending = ", which is soon" if tls["expiresSoon"] else ""
            yield "tls", f"{tls['mode']}, until {until}{ending}; {tls['handshakes']} handshakes"
    if known := answer.get("doors"):
        lost = f"; {count} records of the audit log lost" if (count := answer["audit"]["lost"]) else ""
        used = f"{known['tokens']}, used by {known['connections']} connections"
        yield "tokens", f"{used}; {known['refused']} wrong ones refused{lost}"
    if logged := answer.get("logging"):
        yield "logging", f"{logged['lines']} lines, {logged['suppressed']} too many of a kind, {logged['dropped']} lost"
    if restarts := answer.get("restarts"):
        yield "restarts", ", ".join(f"{name}: {count}" for name, count in restarts.items())


def _sockets(paths: dict[str, str]) -> str:
    """Both paths if they fit a line of a terminal, else the folder's end."""
    first, *others = paths.values()
    text = "  ".join((first, *(PurePath(path).name for path in others)))
    return text if len(text) <= SOCKET_CHARACTERS_MAX else f"...{text[3 - SOCKET_CHARACTERS_MAX:]}"


def _limits(answer: dict[str, Any]) -> Iterator[Row]:
    vm = answer["vm"]
    left = f"{vm['entered']} frames entered, {vm['deoptimised']} opcodes left to the interpreter"
    yield "compiled", f"{vm['machineCodeBytes'] / MIB:.1f} MiB; {vm['rejected']} cached refused; {left}"
    for name, size in answer["limits"].items():
        yield "limit", f"{name}: {'' if size['used'] is None else str(size['used']) + ' of '}{size['max']}"


def _job(job: dict[str, Any]) -> str:
    last = job["lastError"] or job["lastResult"] or "not yet run"
    if job["runningSince"] is not None:
        last += f"; running for {time.time() - job['runningSince']:.0f} s"
    every, runs, failures = job["intervalSeconds"], job["runs"], job["failures"]
    return f"{job['name']}: every {every:g} s, {runs} runs, {failures} failures, last: {last}"
