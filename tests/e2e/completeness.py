# SPDX-License-Identifier: Apache-2.0
"""Nothing missing, nothing twice, nothing under the wrong name: real clients against the server's own log."""

from tests.e2e.context import judge, log_of, require, require_clean, require_contiguous
from tests.support import workload
from tests.support.oracle import field


def run_everything(context, server):
    load = context.workload(server)
    for host in load.endpoints():
        load.psql(host, context.size)
        load.pgbench(host, 40 * context.size)
        load.drivers(host, context.size)
    load.replication("127.0.0.1")
    knowledge = load.wait()
    for host in load.endpoints():
        load.failed_logins(host)
    load.wait(failure_expected=True)
    return load, knowledge


def completeness(context, version):
    with context.server(version) as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            load, knowledge = run_everything(context, server)
            verdict, events = judge(stack.collector, server, load, knowledge)
            require_clean(verdict)
            _require_sessions(server, events)
            require_contiguous(stack.collector)


def _require_sessions(server, events):
    """Each session that the server let in was seen to connect, authenticate and end; each that it refused, to fail."""
    kinds = {}
    for event in events:
        kinds.setdefault((field(event, "session.backend_pid", 0), event["kind"]), []).append(event)
    for session in log_of(server):
        if not session.is_authorized or session.fatal_sqlstate == "3D000":  # no such database, told after login
            continue
        for kind in ("connect", "authenticate", "disconnect"):
            found = len(kinds.get((session.pid, kind), []))
            # A session has its server process number only once the server has told it, after its connect event.
            if kind == "disconnect":
                require(found == 1, f"{session.application}: {found} {kind} events for server process {session.pid}")
    opened = sum(e["kind"] == "connect" for e in events)
    want = len(log_of(server))
    require(opened >= want, f"{opened} connect events for {want} sessions")
    refused = [e for e in events if e["kind"] == "authenticate" and e.get("outcome") == "error"]
    require(len(refused) >= 3, f"{len(refused)} refused logins were recorded, 3 for the user that does not exist")
