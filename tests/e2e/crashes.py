# SPDX-License-Identifier: Apache-2.0
"""kill -9 under load: nothing that was acknowledged is lost, nothing is there twice; and the store can be rebuilt."""

import shutil
import time

from tests.e2e.context import judge, log_of, require, require_clean, require_contiguous, statements_in
from tests.support import gatehouse, oracle, postgres, workload
from tests.support.oracle import field

# What the agent had read but not yet written to its spool when it was killed, and what ran until its programs were
# attached again, is lost by nature. A session that overlaps such a window is only checked for repetitions.
WINDOW_BEFORE_SECONDS = 2.0


def kill_agent(context):
    with context.server() as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            load = context.workload(server)
            windows = []
            for kill in range(2):
                _short_sessions(load, f"k{kill}")
                time.sleep(3)
                before = {e["id"] for e in stack.collector.query()}
                killed = time.time()
                stack.agent.kill()
                time.sleep(0.5)
                stack.agent.start().wait_ready()
                windows.append((killed - WINDOW_BEFORE_SECONDS, time.time()))
                after = {e["id"] for e in stack.collector.query()}
                require(before <= after, f"{len(before - after)} acknowledged events are gone")
                load.wait()
            _short_sessions(load, "last")
            load.wait()
            _require_after_agent_kill(stack, server, load, windows)
            require_contiguous(stack.collector)


def _require_after_agent_kill(stack, server, load, windows):
    sessions = log_of(server)
    whole = [s for s in sessions if not any(s.opened <= end and s.last_seen >= start for start, end in windows)]
    require(len(whole) > 20, f"only {len(whole)} of {len(sessions)} sessions were outside the outages")
    events = gatehouse.settle(stack.collector, server, statements_in(whole))
    pids = {s.pid for s in whole}
    ours = [e for e in events if field(e, "session.backend_pid", 0) in pids]
    require_clean(oracle.compare(whole, ours, load.executables))
    verdict = oracle.compare(sessions, [e for e in events if field(e, "session.backend_pid", 0)], load.executables)
    require(verdict.counts["duplicated"] == 0, f"{verdict.counts['duplicated']} statements are there twice")


def kill_collector(context):
    with context.server() as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            load = context.workload(server)
            for kill in range(3):
                _short_sessions(load, f"k{kill}")
                load.pgbench("127.0.0.1", 200)
                time.sleep(2.5)
                stack.collector.kill()
                time.sleep(1)
                stack.collector.start()
                load.wait()
            verdict, _ = judge(stack.collector, server, load)
            require_clean(verdict)
            require_contiguous(stack.collector)


def _short_sessions(load, label):
    """Some seconds of sessions that begin and end all the time, and a few that last."""
    script = load.directory / f"{label}.sql"
    script.write_text(f"select 1 /*gh:{label}*/;\nselect :client_id /*gh:{label}*/;\n")
    for host in load.endpoints():
        load.launch("pgbench", [postgres.PGBENCH, "-n", "-C", "-c", "2", "-j", "2", "-T", "7", "-R", "60", "-f",
                                script], host, "app", "shop")
        load.launch("pgbench", [postgres.PGBENCH, "-n", "-S", "-c", "1", "-T", "7", "-R", "100"], host, "app", "shop")


def rebuild(context):
    """The store is an index: without its files the collector builds it again and answers the same."""
    with context.server() as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            load = context.workload(server)
            load.psql("127.0.0.1", 2)
            load.drivers("127.0.0.1", 1)
            load.wait()
            judge(stack.collector, server, load)
            stack.agent.stop()
            before = _everything(stack.collector)
            require(len(before) > 100, f"only {len(before)} events")
            stack.collector.stop()
            files = [f for f in stack.collector.state.rglob("*") if "duckdb" in f.name and f.exists()]
            require(files, f"no DuckDB files in {stack.collector.state}")
            for file in files:
                if file.is_dir():
                    shutil.rmtree(file)
                else:
                    file.unlink()
            stack.collector.start()
            deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
            while (after := _everything(stack.collector)) != before and time.monotonic() < deadline:
                time.sleep(1)
            require(after == before, f"{len(before)} events before, {len(after)} after, "
                                     f"{sum(a != b for a, b in zip(before, after))} differ")


def _everything(collector):
    return collector.query()
