# SPDX-License-Identifier: Apache-2.0
"""Nothing missing, nothing twice, nothing under the wrong name: real clients against the server's own log."""

import collections
import json

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
        load.passwords(host)
        load.failed_logins(host)
    load.wait(failure_expected=True)
    return load, knowledge


def completeness(context, version, plane="auto"):
    with context.server(version) as server:
        workload.prepare(server)
        with context.stack(server, settings=f"capture:\n  plane: {plane}\n") as stack:
            if plane != "auto":
                require(f" plane={plane}\n" in stack.agent.log.read_text(), f"the agent does not run the {plane} plane")
            load, knowledge = run_everything(context, server)
            verdict, events = judge(stack.collector, server, load, knowledge)
            require_clean(verdict)
            _require_sessions(server, events)
            require_contiguous(stack.collector)


# How the server refuses a session, and which event says so: before authentication has succeeded that, later the end.
REFUSALS = {"28P01": "authenticate", "28000": "disconnect", "3D000": "disconnect"}


def _require_sessions(server, events):
    """Each session that the server let in or refused was seen to connect, to be let in or refused, and to end."""
    sessions = log_of(server)
    ended = collections.Counter(field(e, "session.backend_pid", 0) for e in events if e["kind"] == "disconnect")
    for session in sessions:
        # Only a session that was let in was told the number of its server process.
        if session.is_authorized and session.fatal_sqlstate not in REFUSALS:
            require(ended[session.pid] == 1, f"{session.application}, server process {session.pid}: "
                                             f"{ended[session.pid]} disconnect events")
    let_in = [e for e in events if e["kind"] == "authenticate" and e["outcome"] == "ok"]
    methods = collections.Counter(field(e, "detail") for e in let_in)
    require(any("scram" in method for method in methods), f"no scram login among {methods}")
    refused = collections.Counter(s.fatal_sqlstate for s in sessions if s.fatal_sqlstate in REFUSALS)
    for sqlstate, kind in REFUSALS.items():
        found = sum(e["kind"] == kind and e["outcome"] == "error" and field(e, "result.sqlstate") == sqlstate
                    for e in events)
        require(found == refused[sqlstate] > 0, f"{refused[sqlstate]} sessions were refused with {sqlstate}, "
                                                f"{found} {kind} events say so")
    secrets = [e["id"] for e in events if workload.PASSWORD in json.dumps(e)]
    require(not secrets, f"a password was recorded: {secrets[:3]}")
