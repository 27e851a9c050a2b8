# SPDX-License-Identifier: Apache-2.0
"""Sessions that are not ordinary: open before the agent, encrypted, or not PostgreSQL at all."""

import os
import socket
import subprocess
import threading
import time

import psycopg

from tests.e2e.context import require
from tests.support import gatehouse, postgres, workload
from tests.support.oracle import field


def joined(context):
    """A session that was open first is joined: its statements are recorded, marked, with their process."""
    with context.server() as server:
        workload.prepare(server)
        for host in ("127.0.0.1", str(server.socket_dir)):
            _joined_over(context, server, host)


def _joined_over(context, server, host):
    with psycopg.connect(host=host, port=server.port, user="app", dbname="shop", sslmode="disable",
                         gssencmode="disable", application_name="gh:early", autocommit=True) as early:
        early.execute("select 'before the agent' /*gh:before*/")
        with context.stack(server) as stack:
            for n in range(10):
                early.execute(f"select {n} /*gh:joined{n}*/")
                time.sleep(0.1)
            backend = early.info.backend_pid
            deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
            texts = []
            while len(texts) < 9 and time.monotonic() < deadline:
                time.sleep(0.5)
                events = [e for e in stack.collector.query('kind == "statement"')
                          if "/*gh:joined" in field(e, "statement.text", "") and
                          field(e, "actor.pid") == os.getpid()]
                texts = [field(e, "statement.text") for e in events]
            # The join point is the end of an exchange, so the first statement may be the one that is given up.
            for n in range(1, 10):
                found = texts.count(f"select {n} /*gh:joined{n}*/")
                require(found == 1, f"{host}: statement {n} of the joined session was recorded {found} times")
            for event in events:
                require(event["fidelity"] == "joined-mid-stream", f"{host}: fidelity {event['fidelity']}")
                known = field(event, "session.backend_pid", 0)
                require(known in (0, backend), f"{host}: server process {known} for {backend}")
                _require_server(event, backend, host)
            session = field(events[0], "session.id")
            gaps = [e for e in stack.collector.query('kind == "gap"')
                    if field(e, "detail").startswith("opened-before-watching")]
            require([field(e, "session.id") for e in gaps].count(session) == 1,
                    f"{host}: not one gap for what was before session {session}: {gaps}")
            gap = next(e for e in gaps if field(e, "session.id") == session)
            require(gap["fidelity"] == "joined-mid-stream", f"{host}: fidelity of the gap {gap['fidelity']}")
            require(field(gap, "actor.pid") == os.getpid(), f"{host}: actor of the gap {gap['actor']}")
            _require_server(gap, backend, host)
            before = [e for e in stack.collector.query() if "gh:before" in field(e, "statement.text")]
            require(not before, "a statement from before the agent was recorded")
    # The next endpoint gets a fresh collector and agent.
    os.rename(context.directory / "gh", context.directory / f"gh-{'unix' if host.startswith('/') else 'tcp'}")


def _require_server(event, backend, host):
    """The right process or none: the agent learns of a TCP connection's other end only when it is made."""
    database = event["database"]
    if "pid" in database:
        require(field(database, "pid") == backend and field(database, "exe").endswith("/postgres"),
                f"{host}: server process {database} for {backend}, kind {event['kind']}")


def tls(context):
    """A TLS session that is not to be opened is one opaque session of a known process, with no statements."""
    with context.server(settings=context.certificate()) as server:
        workload.prepare(server)
        with context.stack(server, settings="capture:\n  tls_secrets: off\n") as stack:
            client = subprocess.Popen([postgres.PSQL, "-X", "-q", "-c", "select 'secret' /*gh:tls*/", "-c", "select 2"],
                                      env={**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(server.port),
                                           "PGUSER": "app", "PGDATABASE": "shop", "PGSSLMODE": "require"},
                                      stdout=subprocess.DEVNULL)
            require(client.wait(30) == 0, "psql failed")
            events = _events_of_process(stack, client.pid, lambda found: any(e["kind"] == "disconnect" for e in found))
            kinds = [e["kind"] for e in events]
            require("opaque" in kinds, f"no opaque event: {kinds}")
            require("statement" not in kinds, f"statements out of ciphertext: {kinds}")
            opaque = next(e for e in events if e["kind"] == "opaque")
            require("tls" in opaque.get("detail", ""), f"the reason is {opaque.get('detail')!r}")
            require(field(opaque, "session.encrypted") is True, "the session is not marked encrypted")
            require(field(opaque, "actor.exe") == str(postgres.PSQL), f"actor {opaque['actor']}")
            # libpq asked for TLS, was refused, and went on in plain text: that is an ordinary session.
            plain = subprocess.run([postgres.PSQL, "-X", "-q", "-h", server.socket_dir, "-p", str(server.port), "-U",
                                    "app", "-d", "shop", "-c", "select 'plain' /*gh:plain*/"], check=False,
                                   capture_output=True, env={**os.environ, "PGSSLMODE": "prefer"})
            require(plain.returncode == 0, "psql failed")
            _wait_for(lambda: stack.collector.query('statement.text == "select \'plain\' /*gh:plain*/"'),
                      "the statement of a session that stayed in plain text")


def garbage(context):
    """Bytes that are not the protocol, on a port that is named as a database: reported as that, and once."""
    with context.server() as server:
        fake = socket.create_server(("127.0.0.1", context.port(2)))
        stop = threading.Event()
        thread = threading.Thread(target=_answer_garbage, args=(fake, stop))
        thread.start()
        try:
            stack = context.stack(server)
            stack.agent.settings = ""
            named = _Named(context.port(2), context.directory)
            stack.agent.servers = (server, named)
            with stack:
                for payload in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 16, b"\x00" * 64):
                    with socket.create_connection(("127.0.0.1", context.port(2))) as client:
                        client.sendall(payload)
                        client.recv(4096)
                found = _wait_for(
                    lambda: [e for e in stack.collector.query('kind == "opaque"')
                             if "not-postgresql" in e.get("detail", "")
                             and str(context.port(2)) in field(e, "database.address", "")],
                    "report of a port that does not speak PostgreSQL")
                require(field(found[0], "actor.pid") == os.getpid(), f"actor {found[0]['actor']}")
                statements = [e for e in stack.collector.query('kind == "statement"')
                              if str(context.port(2)) in field(e, "database.address", "")]
                require(not statements, f"{len(statements)} statements were made of garbage")
                require(stack.agent.is_running, "the agent ended")
        finally:
            stop.set()
            fake.close()
            thread.join()


class _Named:
    """What the agent's configuration needs to know of a server."""

    def __init__(self, port, directory):
        self.version, self.port, self.socket_path = "fake", port, directory / "none.sock"


def _answer_garbage(listener, stop):
    listener.settimeout(0.2)
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
        except (TimeoutError, OSError):
            continue
        with connection:
            connection.settimeout(2)
            try:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            except OSError:
                pass


def _events_of_process(stack, pid, is_enough):
    return _wait_for(lambda: (lambda found: found if is_enough(found) else None)(
        stack.collector.query(f"actor.pid == {pid}")), f"events of process {pid}")


def _wait_for(ask, what):
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.5)
    require(False, f"no {what}")
    return None
