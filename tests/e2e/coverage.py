# SPDX-License-Identifier: Apache-2.0
"""What was seen of a session, and what was not: the agent's account against the peer's own byte counts."""

import os
import select
import socket
import subprocess
import threading
import time

import psycopg

from tests.e2e.context import require
from tests.support import gatehouse, workload
from tests.support.oracle import field


class Relay:
    """Hands one connection on to a server and counts what it writes and reads there: an oracle outside the agent."""

    def __init__(self, port, server_port):
        self.sent = self.received = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._server_port = server_port
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._server_port))
        with client, server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    if ready is client:
                        server.sendall(data)
                        self.sent += len(data)
                    else:
                        self.received += len(data)
                        client.sendall(data)

    def close(self):
        self._thread.join(10)
        self._listener.close()


def restarted(context):
    """The agent is restarted in the middle of a transaction: the record shows exactly what was not seen."""
    with context.server() as server:
        workload.prepare(server)
        relay = Relay(context.port(2), server.port)
        with context.stack(server) as stack:
            with (psycopg.connect(host="127.0.0.1", port=context.port(2), user="app", dbname="shop",
                                  sslmode="disable", gssencmode="disable", application_name="gh:tcp") as tcp,
                  psycopg.connect(host=str(server.socket_dir), port=server.port, user="app", dbname="shop",
                                  application_name="gh:unix") as local):
                for connection in (tcp, local):
                    connection.execute("select 'before' /*gh:before*/")
                _until(lambda: len(_statements(stack, server, "gh:before")) == 2, "the statements before the restart")
                stack.agent.stop()
                stopped = (relay.sent, relay.received)
                for connection in (tcp, local):
                    connection.execute("select 'between' /*gh:between*/")
                started = (relay.sent, relay.received)
                stack.agent.start().wait_ready()
                for connection in (tcp, local):
                    connection.execute("select 'after' /*gh:after*/")
                    connection.execute("select repeat('x', 100) from generate_series(1, 500) /*gh:after rows*/")
                    connection.commit()
                backends = {"tcp": tcp.info.backend_pid, "unix": local.info.backend_pid}
            relay.close()
            _until(lambda: len(_of(stack, server, 'kind == "disconnect" && fidelity != "opaque"')) >= 4,
                   "the ends of both sessions")
            require(not _statements(stack, server, "gh:between"), "a statement was recorded that no agent saw")
            for transport, backend in backends.items():
                _check(stack, server, transport, backend)
            _check_bytes(stack, server, stopped, started, (relay.sent, relay.received))


def _check(stack, server, transport, backend):
    after = [e for e in _statements(stack, server, "gh:after") if field(e, "session.transport") == transport]
    require(len(after) == 2, f"{transport}: {len(after)} of 2 statements after the restart")
    session = field(after[0], "session.id")
    require(all(e["fidelity"] == "joined-mid-stream" for e in after), f"{transport}: fidelity {after}")
    gap = next((e for e in _of(stack, server, 'kind == "gap"') if field(e, "session.id") == session
                and e["detail"].startswith("opened-before-watching")), None)
    require(gap is not None, f"{transport}: no gap for what was before {session}")
    require(gap["detail"].endswith("state=idle in transaction"), f"{transport}: the gap says {gap['detail']!r}")
    for event in (gap, *after):
        require(field(event, "session.user") == "app" and field(event, "database.name") == "shop" and
                field(event, "session.named_by") == "process-title", f"{transport}: who is {event}")
        require(field(event, "database.pid") == backend, f"{transport}: server process of {event}, not {backend}")
        require(field(event, "actor.pid") == os.getpid(), f"{transport}: actor of {event}")
    ends = [e for e in _of(stack, server, 'kind == "disconnect"') if field(e, "session.transport") == transport
            and field(e, "session.application") in ("gh:" + transport, None, "")]
    first = [e for e in ends if e["detail"].startswith("watch-ended")]
    last = [e for e in ends if field(e, "session.id") == session]
    require(len(first) == 1 and field(first[0], "coverage.verdict") == "full", f"{transport}: first record {first}")
    require(len(last) == 1 and field(last[0], "coverage.verdict") == "gaps", f"{transport}: second record {last}")
    require(field(last[0], "coverage.lost_bytes") == 0, f"{transport}: an idle session lost bytes: {last}")
    shown = subprocess.run([gatehouse.CLI, "session", session, "--collector", stack.collector.address, "--credentials",
                            stack.collector.state / "operator"], check=True, capture_output=True, text=True).stdout
    require("\ncoverage    gaps: " in shown, f"`gatehouse session` says:\n{shown}")


def _check_bytes(stack, server, stopped, started, ended):
    """The peer's own counts: at the agent's stop, at its start, at the end."""
    ends = [e for e in _of(stack, server, 'kind == "disconnect"') if field(e, "session.transport") == "tcp"
            and field(e, "session.user") == "app"]
    first = next(e for e in ends if e["detail"].startswith("watch-ended"))
    last = next(e for e in ends if field(e, "session.named_by") == "process-title")
    require((field(first, "request.bytes"), field(first, "result.bytes")) == stopped,
            f"the first record ends at {first}, the peer says {stopped}")
    require((field(last, "request.bytes"), field(last, "result.bytes")) == ended,
            f"the second record ends at {last}, the peer says {ended}")
    require(field(last, "coverage.unseen_bytes") == sum(started),
            f"unseen: {last['coverage']}, the peer says {started}")
    for event, moved in ((first, sum(stopped)), (last, sum(ended))):
        told = sum(field(event, "coverage." + name, 0) for name in
                   ("unseen_bytes", "decoded_bytes", "left_out_bytes", "cut_bytes", "opaque_bytes", "lost_bytes"))
        require(told == moved, f"the account of {event['coverage']} comes to {told}, the peer says {moved}")


def _of(stack, server, query):
    return gatehouse.events_of(stack.collector, server, " && " + query)


def _statements(stack, server, tag):
    return [e for e in _of(stack, server, 'kind == "statement"') if f"/*{tag}" in field(e, "statement.text", "")]


def _until(holds, what):
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    while not holds():
        require(time.monotonic() < deadline, f"no {what}")
        time.sleep(0.5)
