# SPDX-License-Identifier: Apache-2.0
"""Clients that take every unusual way to a server, and servers in unusual places: each statement of the server's log is
recorded once, with the process that wrote it."""

import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

from tests.e2e.context import require
from tests.support import gatehouse, postgres, serverlog, workload
from tests.support.oracle import field

HARD = workload.CLIENTS / "hard.py"
TAG = re.compile(r"gh:([\w.-]+)\*/")
NETWORK = "10.87.63"
# What starts the server in a network of its own, where 127.0.0.1 is another.
IN_OWN_NETWORK = ("unshare", "-n", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def hard_paths(context):
    abstract = f"@gatehouse-{context.port(1)}"
    directories = f"{context.directory}/pg15-1/socket,{abstract}"
    with context.server(settings={"unix_socket_directories": directories, "listen_addresses": "*"}) as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            for number, host in enumerate(("127.0.0.1", "::1", "::ffff:127.0.0.1", str(server.socket_dir), abstract)):
                _one_endpoint(context, stack, server, number, host)
            _images(context, stack, server)


def _one_endpoint(context, stack, server, number, host):
    directory = context.directory / f"hard-{number}"
    directory.mkdir()
    done = subprocess.run([workload.PYTHON, HARD, host, str(server.port), directory], check=False, capture_output=True,
                          text=True, timeout=workload.CLIENT_SECONDS_MAX)
    require(done.returncode == 0, f"{host}: {done.returncode}\n{done.stdout[-500:]}{done.stderr[-2000:]}")
    known = {}
    for line in done.stdout.splitlines():
        fact = json.loads(line)
        known[fact["tag"]] = fact
    logged = _logged(server)
    for tag in known:
        require(logged[tag] == number + 1, f"{host}: the server logged {tag} {logged[tag]} times")
    pids = {fact["pid"] for fact in known.values()}
    events = _events(stack, lambda e: field(e, "actor.pid") in pids and _tag(e) in known
                     and field(e, "session.transport") == ("unix" if host[0] in "/@" else "tcp"), len(known))
    found = collections.Counter(map(_tag, events))
    for tag, fact in known.items():
        require(found[tag] == 1, f"{host}: {tag} was recorded {found[tag]} times; it was written by {fact['pid']}")
    for event in events:
        fact = known[_tag(event)]
        told = {"pid": field(event, "actor.pid"), "uid": field(event, "actor.uid", 0), "exe": field(event, "actor.exe"),
                "opener": field(event, "actor.opener_pid", field(event, "actor.pid"))}
        require(all(told[name] == fact[name] for name in told), f"{host}: {fact} was told as {told}")
        require(event["outcome"] == "ok" and event["fidelity"] == "complete", f"{host}: {event}")
    gaps = [e for e in stack.collector.query('kind == "gap"') if field(e, "actor.pid") in pids]
    require(not gaps, f"{host}: bytes are missing: {gaps[:2]}")
    print(f"    {host}: {len(known)} statements of {len(pids)} processes", flush=True)


def _images(context, stack, server):
    """psql out of memory, and out of a file that is deleted, or another one by then."""
    content = postgres.PSQL.read_bytes() + b"made another file by this"
    wanted = hashlib.sha256(content).hexdigest()
    memory = os.memfd_create("innocent")
    os.write(memory, content)
    path = context.directory / "psql-copy"
    path.write_bytes(content)
    path.chmod(0o755)
    # It waits in the middle, so that it still runs when its file is gone.
    arguments = ["psql", "-X", "-q", "-h", str(server.socket_dir), "-p", str(server.port), "-U", "app", "-d", "shop"]
    runs = (("memory", f"/proc/{os.getpid()}/fd/{memory}", "/memfd:innocent", lambda: None),
            ("deleted", path, str(path), path.unlink),
            ("other", path, str(path), lambda: shutil.copy("/bin/true", path)))
    for tag, program, exe, make_away in runs:
        if tag == "other":
            path.write_bytes(content)
            path.chmod(0o755)
        client = subprocess.Popen([*arguments, "-c", "select pg_sleep(1)", "-c", f"select 1 /*gh:{tag}*/"],
                                  executable=program, stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        if tag == "other":
            path.unlink()
        make_away()
        require(client.wait(30) == 0, f"{tag}: psql failed")
        event = _events(stack, lambda e, tag=tag: _tag(e) == tag, 1)[0]
        told = (field(event, "actor.pid"), field(event, "actor.exe"), field(event, "actor.sha256"))
        require(told == (client.pid, exe, wanted), f"{tag}: {told} for {(client.pid, exe, wanted)}")


def other_networks(context):
    """A server in a network namespace of its own, with clients inside it, outside it, and on its Unix socket."""
    hba = ["local all all trust", "host all all 127.0.0.1/32 trust", f"host all all {NETWORK}.0/24 trust"]
    with context.server(settings={"listen_addresses": "*"}, hba=hba, prefix=IN_OWN_NETWORK) as server:
        workload.prepare(server)
        _join_networks(server.pid)
        inside = ("nsenter", f"--net=/proc/{server.pid}/ns/net", "--")
        with context.stack(server) as stack:
            clients = {}
            for tag, prefix, host in (("inside", inside, "127.0.0.1"), ("across", (), f"{NETWORK}.2"),
                                      ("path", (), server.socket_dir),
                                      ("third", ("unshare", "-n", "--"), server.socket_dir)):
                client = subprocess.Popen([*prefix, postgres.PSQL, "-X", "-q", "-h", str(host), "-p", str(server.port),
                                           "-U", "app", "-d", "shop", "-c", f"select 1 /*gh:{tag}*/"],
                                          stdout=subprocess.DEVNULL)
                require(client.wait(30) == 0, f"{tag}: psql failed")
                clients[tag] = client.pid
            events = _events(stack, lambda e: _tag(e) in clients, len(clients))
            logged = _logged(server)
            for tag, pid in clients.items():
                found = [e for e in events if _tag(e) == tag]
                require(logged[tag] == 1 and len(found) == 1,
                        f"{tag}: logged {logged[tag]}, recorded {len(found)} times")
                told = (field(found[0], "actor.pid"), field(found[0], "actor.exe"))
                require(told == (pid, str(postgres.PSQL)), f"{tag}: {told} for {pid}")
                require(field(found[0], "database.exe").endswith("/postgres"), f"{tag}: {found[0]['database']}")


def _join_networks(pid):
    """A cable between this network and that of the process; it goes with the process."""
    ends = (f"gh{os.getpid() % 100000}a", f"gh{os.getpid() % 100000}b")
    inside = ("nsenter", f"--net=/proc/{pid}/ns/net", "--")
    for command in (("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", str(pid)),
                    ("ip", "addr", "add", f"{NETWORK}.1/24", "dev", ends[0]), ("ip", "link", "set", ends[0], "up"),
                    (*inside, "ip", "addr", "add", f"{NETWORK}.2/24", "dev", ends[1]),
                    (*inside, "ip", "link", "set", ends[1], "up")):
        subprocess.run(command, check=True)


def _tag(event):
    found = TAG.search(field(event, "statement.text"))
    return found[1] if found else None


def _logged(server):
    log = serverlog.ServerLog(server.log_text())
    texts = [s.text for session in log.sessions.values() for s in session.statements]
    return collections.Counter(found[1] for found in map(TAG.search, texts) if found)


def _events(stack, belongs, enough):
    """Statements that belong, when there are enough and no more follow."""
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    before = -1
    while True:
        events = [e for e in stack.collector.query('kind == "statement"') if belongs(e)]
        if (len(events) >= enough and len(events) == before) or time.monotonic() > deadline:
            return events
        before = len(events)
        time.sleep(1)
