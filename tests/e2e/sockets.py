# SPDX-License-Identifier: Apache-2.0
"""Every socket of a database is in the account of the host, with its verdict: against `ss` and the server's own list of
its sessions."""

import collections
import contextlib
import json
import os
import re
import socket
import subprocess
import time

import psycopg

from tests.e2e.context import require
from tests.e2e.hard_paths import IN_OWN_NETWORK
from tests.support import gatehouse, postgres, workload

OPEN_SECONDS_MAX = 30
# TCP connections that nobody has closed are looked for once a second, and given up when they are missing twice.
RECONCILED_SECONDS = 3


def sockets(context):
    abstract = f"@gatehouse-{context.port(1)}"
    settings = {**context.certificate(), "unix_socket_directories": f"{context.directory}/pg15-1/socket,{abstract}"}
    with context.server(settings=settings) as server, contextlib.ExitStack() as opened:
        workload.prepare(server)
        hosts = ("127.0.0.1", "::1", str(server.socket_dir), abstract)
        before = {f"before {host}": opened.enter_context(_connect(server, host)) for host in hosts}
        for connection in before.values():
            connection.execute("select 1")
        listed = _doctor()
        require(listed["agent"] is None, f"doctor says that an agent runs: {listed['agent']}")
        _check_listeners(server, listed)
        _check_sessions(server, listed, {name: ("will-be-joined", "opened-before-watching") for name in before})
        with context.stack(server) as stack:
            _while_watched(context, stack, server, before, opened)


def _while_watched(context, stack, server, before, opened):
    after = {f"after {host}": opened.enter_context(_connect(server, host))
             for host in ("127.0.0.1", "::1", str(server.socket_dir), f"@gatehouse-{context.port(1)}")}
    secret = opened.enter_context(_connect(server, "127.0.0.1", sslmode="require"))
    wanted = ({name: ("gaps", "opened-before-watching") for name in before} | {name: ("full", "") for name in after} |
              {"tls": ("opaque", "tls")})
    for connection in (*before.values(), *after.values(), secret):
        connection.execute("select 1")
    listed = _until_settled(stack, server, wanted)
    require(listed["agent"]["phase"] == "running", f"the agent's phase: {listed['agent']}")
    _check_listeners(server, listed)
    _check_users(listed, server)
    # A connection that never says a word is watched, and is no session.
    silent = opened.enter_context(_silent(server.port))
    found = [s for s in _doctor(stack)["sockets"] if s.get("client", {}).get("address") == silent]
    require([(s["verdict"], s["reason"]) for s in found] == [("watched", "nothing-said")],
            f"a silent connection is {found}")


def other_network_stays(context):
    """A session in another network namespace is watched for as long as it lasts, idle as it may be."""
    hba = ["local all all trust", "host all all 127.0.0.1/32 trust"]
    with context.server(settings={"listen_addresses": "*"}, hba=hba, prefix=IN_OWN_NETWORK) as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            client = subprocess.Popen(
                ["nsenter", f"--net=/proc/{server.pid}/ns/net", "--", postgres.PSQL, "-X", "-q", "-h", "127.0.0.1",
                 "-p", str(server.port), "-U", "app", "-d", "shop"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                text=True)
            _say(client, "select 1 /*gh:early*/;")
            _until_statement(stack, "gh:early")
            time.sleep(RECONCILED_SECONDS)
            found = [s for s in _doctor(stack)["sockets"] if s.get("client", {}).get("pid") == client.pid]
            require(len(found) == 1 and found[0]["verdict"] == "full" and found[0].get("network_namespace"),
                    f"a session in another network is {found}")
            _say(client, "select 2 /*gh:late*/;")
            _until_statement(stack, "gh:late")
            client.stdin.close()
            require(client.wait(OPEN_SECONDS_MAX) == 0, "psql failed")


def _say(client, text):
    client.stdin.write(text + "\n")
    client.stdin.flush()


def _until_statement(stack, word):
    _until(lambda: [e for e in stack.collector.query('kind == "statement"') if word in e["statement"].get("text", "")],
           f"statement {word}")


def _connect(server, host, **options):
    options = {"sslmode": "disable", "gssencmode": "disable"} | options
    return psycopg.connect(host=host, port=server.port, user="app", dbname="shop", autocommit=True, **options)


@contextlib.contextmanager
def _silent(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        yield "%s:%d" % connection.getsockname()


def _doctor(stack=None):
    options = ["--config", stack.agent.config] if stack else []
    done = subprocess.run([gatehouse.AGENT, "doctor", *options, "--json"], check=False, capture_output=True, text=True,
                          timeout=60)
    require(done.returncode == 0, f"doctor: {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def _of(server, listed):
    """What is listed of this server; other servers of this machine are none of the test's business."""
    ends = (f":{server.port}", f".s.PGSQL.{server.port}")
    return [s for s in listed["sockets"] if s["server"]["address"].endswith(ends)]


def _ss(*options):
    """What `ss` shows: inode, and the processes that hold it."""
    text = subprocess.run(["ss", "-H", "-n", "-p", "-e", *options], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in text.splitlines():
        # A Unix socket's "ino:" is that of its path.
        inode = re.search(r" (\d+) +\* +\d+\b(?!\s*\*)" if line.startswith("u_") else r"\bino:(\d+)", line)
        if inode:  # a connection in TIME-WAIT has none
            found[int(inode[1])] = (line, {int(pid) for pid in re.findall(r"pid=(\d+)", line)})
    return found


def _check_listeners(server, listed):
    wanted = {inode for inode, (_, pids) in (_ss("-l", "-t") | _ss("-l", "-x")).items() if server.pid in pids}
    require(len(wanted) >= 4, f"ss shows {len(wanted)} sockets of a server with two addresses and two paths")
    found = {s["server"]["inode"]: s for s in _of(server, listed) if s.get("listening")}
    require(wanted == set(found), f"ss shows listeners {wanted}, doctor {found}")
    for one in found.values():
        require(one["verdict"] == "watched" and one["server"]["pid"] == server.pid and
                one["server"]["exe"].endswith("/postgres"), f"a listener: {one}")


def _backends(server):
    """pid to (is encrypted, client's port or -1) of every session, as the server has them."""
    text = server.psql("select a.pid, coalesce(s.ssl, false), coalesce(a.client_port, -1) from pg_stat_activity a left "
                       "join pg_stat_ssl s using (pid) where a.backend_type = 'client backend' and a.pid != "
                       "pg_backend_pid()").stdout
    return {int(pid): (ssl == "t", int(port)) for pid, ssl, port in (line.split("|") for line in text.split())}


def _check_sessions(server, listed, wanted):
    """Each session of the server's list is there, at both its ends, and as often with each verdict as is right."""
    backends = _backends(server)
    found = {s["server"].get("pid"): s for s in _of(server, listed) if not s.get("listening")}
    require(set(backends) == set(found), f"the server has sessions {backends}, doctor shows {found}")
    told = collections.Counter((s["verdict"], s.get("reason", "")) for s in found.values())
    require(told == collections.Counter(wanted.values()), f"verdicts {told}, wanted {wanted}")
    shown = _ss("-t", "-x")
    for pid, one in found.items():
        is_tls, port = backends[pid]
        require((one["verdict"] == "opaque") == (is_tls and "session" in one), f"encrypted is {is_tls}: {one}")
        require(port == -1 or one["client"]["address"].endswith(f":{port}"), f"client port {port}: {one}")
        for end, holder in ((one["server"], pid), (one["client"], os.getpid())):
            require(end["pid"] == holder, f"{end} is not held by {holder}")
            require(holder in shown.get(end["inode"], ("", ()))[1], f"ss does not show {end} of {holder}")


def _check_users(listed, server):
    for one in _of(server, listed):
        if "session" in one and one["verdict"] != "opaque":
            require((one.get("user"), one.get("database")) == ("app", "shop"), f"who is {one}")


def _until_settled(stack, server, wanted):
    """The harness's own sessions end, and what was said arrives: then the list is as it should be."""
    def is_settled():
        listed = _doctor(stack)
        found = [s for s in _of(server, listed) if not s.get("listening")]
        told = collections.Counter((s["verdict"], s.get("reason", "")) for s in found)
        return listed if told == collections.Counter(wanted.values()) else None

    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    while not (listed := is_settled()) and time.monotonic() < deadline:
        time.sleep(0.2)
    listed = listed or _doctor(stack)
    _check_sessions(server, listed, wanted)
    return listed


def _until(ask, what):
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.3)
    require(False, f"no {what}")
    return None
