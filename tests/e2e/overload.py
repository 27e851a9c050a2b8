# SPDX-License-Identifier: Apache-2.0
"""More than can be recorded: what is lost is told, by session and place, and nothing else is lost."""

import contextlib
import os
import signal
import subprocess
import time

from tests.e2e.context import log_of, require, require_clean, require_contiguous, require_verified, statements_in
from tests.support import gatehouse, losses, oracle, postgres, workload
from tests.support.oracle import field

SMALL_RINGS = ("capture:\n  request_bytes_max: 16KiB\n  request_ring_bytes: 64KiB\n  response_ring_bytes: 64KiB\n"
               "  control_ring_bytes: 64KiB\n")
CANNOT_WRITE = "ingest cannot write, so nothing is acknowledged"
RUNGS = ("short-answers", "statement-heads", "metadata")


def ring(context):
    """Rings of 64 KiB, statements of some kilobytes, as fast as the server takes them."""
    _overloaded(context, padding=3000, stop=None)


def stopped_agent(context):
    """The agent stands still while sessions come and go, then goes on."""
    _overloaded(context, padding=600, stop=3.0)


def _overloaded(context, padding, stop):
    with context.server() as server:
        workload.prepare(server)
        with context.stack(server, settings=SMALL_RINGS) as stack:
            load = context.workload(server)
            _pgbench(load, "long", padding, "-c", "3", "-T", "6", "-R", "1500")
            _pgbench(load, "short", padding, "-C", "-c", "2", "-T", "6", "-R", "150")
            if stop is not None:
                time.sleep(1.5)
                stack.agent.process.send_signal(signal.SIGSTOP)
                time.sleep(stop)
                stack.agent.process.send_signal(signal.SIGCONT)
            load.wait()
            _require_restored(stack)
            _pgbench(load, "after", padding, "-c", "2", "-t", "20")
            load.wait()
            sessions = log_of(server)
            events = _settled(stack.collector, server, sessions)
            verdict = losses.compare(sessions, events)
            lost = sum(field(e, "coverage.lost_bytes", 0) for e in events if e["kind"] == "disconnect")
            print(f"    {verdict.matched} recorded, {lost} bytes lost in "
                  f"{sum(e['kind'] == 'gap' for e in events)} gaps\n    {verdict}")
            require(verdict.is_clean, "losses without an owner")
            _require_whole(sessions, events)
            if stop is not None:
                require(lost > 0 and verdict.matched < verdict.statements, "nothing was lost by standing still")
                _require_ladder(stack)
            require_contiguous(stack.collector)


def _pgbench(load, name, padding, *options):
    """Clients whose statements differ: a number that counts up, and the client."""
    script = load.directory / f"{name}.sql"
    script.write_text(f"\\set n :n + 1\nselect :n /*gh:{name} :client_id {'-' * padding}*/;\n")
    load.launch("pgbench", [postgres.PGBENCH, "-n", "-M", "simple", "-D", "n=0", *options, "-f", script], "127.0.0.1",
                "app", "shop")


def _settled(collector, server, sessions):
    """The events once every session has ended in the record, and no more follow."""
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    last, events = None, []
    while time.monotonic() < deadline:
        events = gatehouse.events_of(collector, server)
        if len(events) == last and sum(e["kind"] == "disconnect" for e in events) >= len(sessions):
            break
        last = len(events)
        time.sleep(1)
    return events


def _phases(stack):
    """What the agent said of itself, in order: "start", "degraded/metadata", "restored", …"""
    return [field(e, "detail").split()[0].removeprefix("phase=") for e in stack.collector.query('kind == "agent"')]


def _require_restored(stack):
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    while (phases := [p for p in _phases(stack) if p == "restored" or p.startswith("degraded/")]) \
            and phases[-1] != "restored":
        require(time.monotonic() < deadline, f"the ladder is not left: {phases}")
        time.sleep(0.5)


def _require_ladder(stack):
    """Taken at once, left one rung at a time, and both can be read in the record."""
    phases = [p for p in _phases(stack) if p == "restored" or p.startswith("degraded/")]
    require(phases and phases[-1] == "restored", f"the ladder: {phases}")
    for before, after in zip([None, *phases], phases):
        known = (*RUNGS, None)
        rung = after.removeprefix("degraded/") if after != "restored" else None
        require(rung in known, f"no such rung: {after}")
        if after == "restored":
            require(before == "degraded/" + RUNGS[0], f"left from {before}: {phases}")


def _require_whole(sessions, events):
    """After the overload everything is kept again."""
    after = [found for session, found in losses.of_sessions(sessions, events)
             if any("gh:after" in s.text for s in session.statements)]
    require(len(after) == 2, f"{len(after)} sessions after the overload")
    for event in (e for found in after for e in found):
        if event["kind"] in ("statement", "gap"):
            require(event["kind"] == "statement" and event["fidelity"] == "complete", f"after the overload: {event}")


@contextlib.contextmanager
def small_disk(folder, size):
    """`folder`, which is there, on a file system of its own."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "gatehouse-e2e", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill_disk(folder, room):
    """A file that leaves about `room` bytes; it grows if it is there."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), open(ballast, "ab", buffering=0) as out:
        while True:
            out.write(bytes(64 << 10))
    os.truncate(ballast, ballast.stat().st_size - room)
    return ballast


def stopped_collector(context):
    """The collector stands still for a while: the spool keeps what it missed."""
    with context.server() as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            load = context.workload(server)
            _pgbench(load, "long", 100, "-c", "3", "-T", "9", "-R", "1000")
            time.sleep(1.5)
            stack.collector.process.send_signal(signal.SIGSTOP)
            time.sleep(5)
            stack.collector.process.send_signal(signal.SIGCONT)
            load.wait()
            sessions = log_of(server)
            events = gatehouse.settle(stack.collector, server, statements_in(sessions))
            require_clean(oracle.compare(sessions, events, load.executables))
            require(losses.compare(sessions, events).is_clean, "the account of bytes")
            require_contiguous(stack.collector)


def full_collector(context):
    """The collector's disk is full, over a kill too: agents keep what they have, and it goes on when there is room."""
    with context.server() as server:
        workload.prepare(server)
        stack = context.stack(server)
        collector = stack.collector
        collector.settings = "segment:\n  bytes_max: 1MiB\n  age_max: 1min\n"
        collector.state.mkdir()
        with small_disk(collector.state, "48m") as disk, stack:
            load = context.workload(server)
            _pgbench(load, "long", 100, "-c", "3", "-T", "14", "-R", "800")
            time.sleep(1)
            ballast = fill_disk(disk, room=64 << 10)
            for restart in (True, False):
                collector.wait_until(lambda: collector.says(CANNOT_WRITE), CANNOT_WRITE)
                time.sleep(1.5)
                _require_said_once(collector, stack.agent, restart)
                if restart:
                    collector.kill()
                    fill_disk(disk, room=0)
                    collector.start()
            require(gatehouse.events_of(collector, server), "no answer while nothing can be written")
            require_verified(stack)
            ballast.unlink()
            load.wait()
            sessions = log_of(server)
            events = gatehouse.settle(collector, server, statements_in(sessions))
            require_clean(oracle.compare(sessions, events, load.executables))
            require(losses.compare(sessions, events).is_clean, "the account of bytes")
            require_contiguous(collector)
            require(collector.says(" ingest writes again "), "it does not say that it writes again")
            stack.agent.stop()
            require(collector.stop() == 0, "the collector's exit code")
            require_verified(stack)


def _require_said_once(collector, agent, is_first_run):
    """One line for what is wrong, however often it is tried."""
    said = collector.text().splitlines()
    for line in ("cannot write, so nothing is acknowledged", "segment not loaded", "segment not sealed"):
        found = sum(line in s for s in said)
        require(found <= 1, f"the collector says {found} times: {line}")
    refusals = agent.text().count("the collector cannot write")
    require(refusals == 1 if is_first_run else refusals <= 2, f"the agent says {refusals} times that it is refused")


def full_spool(context):
    """The disk of the spool is full while the collector is away: the numbers of the lost events are told."""
    with context.server() as server:
        workload.prepare(server)
        with context.stack(server, settings="spool:\n  segment_bytes: 1MiB\n  bytes_max: 16MiB\n") as stack:
            stack.agent.stop()
            with small_disk(stack.agent.state / "spool", "4m") as disk:
                stack.agent.start().wait_ready()
                load = context.workload(server)
                stack.collector.process.send_signal(signal.SIGSTOP)
                ballast = fill_disk(disk, room=256 << 10)
                _pgbench(load, "long", 100, "-c", "3", "-T", "8", "-R", "4000")
                load.wait()
                ballast.unlink()
                stack.collector.process.send_signal(signal.SIGCONT)
                _pgbench(load, "after", 100, "-c", "2", "-t", "20")
                load.wait()
                _require_told(stack, server)
                require(stack.agent.stop() == 0, "the agent's exit code")


def _require_told(stack, server):
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    while True:
        events = stack.collector.query()
        missing = {boot: count for boot, count in losses.missing_sequences(events).items() if count}
        told = dict(losses.dropped_by_spool(events))
        if told and missing == told and any("gh:after" in field(e, "statement.text") for e in events):
            break
        require(time.monotonic() < deadline, f"missing: {missing}, told as dropped: {told}")
        time.sleep(1)
    statements = statements_in(log_of(server))
    found = sum(e["kind"] == "statement" and not gatehouse.is_harness(e) for e in events)
    lost = sum(told.values())
    print(f"    {statements} statements, {found} recorded, {lost} events dropped and told")
    require(found < statements <= found + lost, "statements are missing that no dropped event was")
