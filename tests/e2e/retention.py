# SPDX-License-Identifier: Apache-2.0
"""A running collector that keeps little: whole old segments go, what is inside the limit stays, and both are told."""

import json
import subprocess
import time

from tests.e2e.context import log_of, require, require_clean, require_verified
from tests.support import gatehouse, oracle, outages, postgres, workload
from tests.support.oracle import field

SMALL_SEGMENTS = "segment:\n  bytes_max: 1MiB\n  age_max: 1s\n"
AGE_SECONDS_MAX = 8
BYTES_MAX = 256 << 10
LOAD_SECONDS = 20
SAMPLE_EVERY_SECONDS = 1.0
NO_LONGER_THERE = "is no longer there"


def by_age(context):
    """What was received within the last seconds is there at every moment."""
    with _stack(context, f"retention:\n  age_max: {AGE_SECONDS_MAX}s\n") as (server, stack, load):
        before = {}  # time by id
        while _is_running(load):
            asked = time.time()
            events = stack.collector.query()
            now = {e["id"]: outages.unix(e["time"]) for e in events}
            # The time of an event is before that of its receipt, so this asks for less than is promised.
            recent = {i for i, at in before.items() if at > time.time() - AGE_SECONDS_MAX}
            require(recent <= now.keys(), f"{len(recent - now.keys())} of {len(recent)} recent events disappeared")
            before = now
            time.sleep(max(0.0, asked + SAMPLE_EVERY_SECONDS - time.time()))
        _require_kept_and_told(stack, server, load)


def by_size(context):
    """The log never grows far beyond its limit, and is not cut below it."""
    with _stack(context, f"retention:\n  bytes_max: {BYTES_MAX}\n") as (server, stack, load):
        largest = 0
        while _is_running(load):
            largest = max(largest, *(f.stat().st_size for f in _segments(stack)))
            time.sleep(SAMPLE_EVERY_SECONDS)
        _settle(stack)
        kept = sum(f.stat().st_size for f in _segments(stack))
        # The open segment never goes, and another is removed only while there is too much.
        require(BYTES_MAX - largest <= kept <= BYTES_MAX + largest,
                f"{kept} bytes are kept, of a limit of {BYTES_MAX} and segments of up to {largest}")
        _require_kept_and_told(stack, server, load)


class _stack:
    """A server, its load and a collector that keeps what `retention` says."""

    def __init__(self, context, retention):
        self.context = context
        self.server = context.server()
        self.stack = context.stack(self.server)
        self.stack.collector.settings = SMALL_SEGMENTS + retention

    def __enter__(self):
        self.server.__enter__()
        try:
            workload.prepare(self.server)
            self.stack.__enter__()
            load = self.context.workload(self.server)
            script = load.directory / "short.sql"
            script.write_text("\\set n random(1, 1000000000)\nselect :n /*gh:short*/;\n"
                              "select :client_id /*gh:short*/;\n")
            bench = [postgres.PGBENCH, "-n", "-c", "2", "-T", str(LOAD_SECONDS)]
            for host in load.endpoints():
                load.launch("pgbench", [*bench, "-C", "-j", "2", "-R", "60", "-f", script], host, "app", "shop")
            load.launch("pgbench", [*bench, "-S", "-R", "500"], "127.0.0.1", "app", "shop")
        except BaseException:
            self.__exit__()
            raise
        return self.server, self.stack, load

    def __exit__(self, *exc):
        self.stack.__exit__(*exc)
        self.server.__exit__(*exc)


def _is_running(load):
    return any(client.process.poll() is None for client in load.clients)


def _segments(stack):
    return list((stack.collector.state / "ledger").glob("*.segment"))


def _settle(stack):
    """Until nothing is added any more."""
    last = -1
    while (now := _ledger_events(stack)) != last:
        last = now
        time.sleep(2)


def _ledger_events(stack):
    return sum(agent["events"] for agent in map(json.loads, stack.collector.cli("agents").stdout.splitlines()))


def _require_kept_and_told(stack, server, load):
    load.wait()
    stack.agent.stop()
    _settle(stack)
    # Nothing comes and nothing goes any more, so that answers and log can be compared.
    stack.collector.stop()
    stack.collector.settings = SMALL_SEGMENTS
    stack.collector.start()
    _require_verified_and_answered(stack)
    _require_told(stack)
    _require_whole_since(stack, server, load)
    # The same from the log alone.
    stack.collector.stop()
    for file in (stack.collector.state / "store").glob("events.duckdb*"):
        file.unlink()
    stack.collector.start()
    _require_verified_and_answered(stack)
    _require_told(stack)


def _is_whole(stack):
    """Whether the index is: an answer says so, where it is not."""
    answer = stack.collector.cli("query", "--limit", "1")
    return "partial" not in answer.stdout + answer.stderr


def _require_verified_and_answered(stack):
    """What is there and what is not adds up, in the log's files and in answers."""
    stack.collector.wait_until(lambda: _is_whole(stack), "complete index")
    require_verified(stack)
    done = subprocess.run([gatehouse.CLI, "verify", stack.collector.state / "ledger", "--output", "json"], check=True,
                          capture_output=True, text=True)
    found = json.loads(done.stdout)
    removed = found["removed"]
    require(removed["segments"] > 1, f"{removed['segments']} segments were removed")
    heads = list((stack.collector.state / "ledger").glob("*.heads"))
    require(len(heads) == removed["segments"], f"{len(heads)} heads of {removed['segments']} removed segments")
    kept = found["events"]
    require(kept > 100, f"only {kept} events are kept")
    answered = [e["id"] for e in stack.collector.query()]
    require(len(answered) == len(set(answered)) == kept, f"{len(answered)} answered of {kept} kept")
    numbers = sorted(int(i.rsplit("/", 1)[1]) for i in answered)
    require(numbers == list(range(removed["events"] + 1, removed["events"] + kept + 1)),
            f"{removed['events']} events removed, but {numbers[0]} to {numbers[-1]} are there")
    require(_ledger_events(stack) == removed["events"] + kept, "the agent's events are not counted in all")
    print(f"    {kept} events in {found['segments']} segments kept, {removed['events']} in {removed['segments']} "
          "removed")


def _require_told(stack):
    def told(*arguments):
        return NO_LONGER_THERE in stack.collector.cli(*arguments).stderr

    require(told("query", "--since", "1d", "--limit", "0"), "a query does not say that something is no longer there")
    require(told("top", "--by", "actor.exe", "--since", "1d"), "top does not say so")
    require(not told("query", "--limit", "5"), "the newest five are there, and something is said to be missing")
    newest = json.loads(stack.collector.cli("query", "--limit", "1").stdout)["time"]
    require(not told("query", "--since", newest, "--limit", "0"), "nothing of that time was removed")


def _require_whole_since(stack, server, load):
    """Sessions that began after the oldest that is kept are there, to the statement."""
    events = gatehouse.events_of(stack.collector, server)
    oldest = min(outages.unix(e["time"]) for e in events)
    sessions = [s for s in log_of(server) if s.opened > oldest + 1]
    require(len(sessions) > 5, f"only {len(sessions)} sessions began within the limit")
    pids = {s.pid for s in sessions}
    ours = [e for e in events if field(e, "session.backend_pid", 0) in pids]
    require_clean(oracle.compare(sessions, ours, load.executables))
