# SPDX-License-Identifier: Apache-2.0
"""Databases on another host: the processes of this one are judged on their way there.

The other host is a network namespace, and so is a container on this one. The oracle is what the server says and logs.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time

from tests.e2e import gate_refusals
from tests.e2e.context import require
from tests.e2e.judged import counter
from tests.support import postgres, wire
from tests.support.oracle import field

SERVER4, MOVED4, SERVER6 = "10.213.21.2", "10.213.21.3", "fd00:213:21::2"
HOST4, HOST6 = "10.213.21.1", "fd00:213:21::1"  # this host, as the server sees it
INNER4 = "10.213.22.2"
NAME = "db.gatehouse.test"
HBA = ["local all all trust", f"host all all {HOST4}/32 trust", f"host all all {HOST6}/128 trust",
       f"host all all {INNER4}/32 trust", "host all all 127.0.0.1/32 trust"]
HEARTBEAT_SECONDS = 1.0

NETWORKS = f"""
ip netns add gh-far && ip link add gh-far0 type veth peer name gh-far1 netns gh-far
ip addr add {HOST4}/24 dev gh-far0 && ip addr add {HOST6}/64 dev gh-far0 nodad && ip link set gh-far0 up
ip -n gh-far addr add {SERVER4}/24 dev gh-far1 && ip -n gh-far addr add {MOVED4}/24 dev gh-far1
ip -n gh-far addr add {SERVER6}/64 dev gh-far1 nodad
ip -n gh-far link set gh-far1 up && ip -n gh-far link set lo up
ip netns add gh-box && ip link add gh-box0 type veth peer name gh-box1 netns gh-box
ip addr add 10.213.22.1/24 dev gh-box0 && ip link set gh-box0 up
ip -n gh-box addr add {INNER4}/24 dev gh-box1 && ip -n gh-box link set gh-box1 up && ip -n gh-box link set lo up
ip -n gh-box route add default via 10.213.22.1 && ip -n gh-far route add 10.213.22.0/24 via {HOST4}
sysctl -qw net.ipv4.ip_forward=1
"""
NO_NETWORKS = "ip netns del gh-far; ip netns del gh-box; ip link del gh-far0; ip link del gh-box0; true"


def in_network(name):
    return ["nsenter", f"--net=/run/netns/{name}", "--"]


class Site:
    """A server on another host, whose name the agent's own hosts file knows."""

    def __init__(self, context):
        self.context = context
        self.server = context.server(hba=HBA, prefix=in_network("gh-far"), settings={"listen_addresses": "*"})
        self.hosts = context.directory / "hosts"
        self.port = self.server.port

    def __enter__(self):
        subprocess.run(NO_NETWORKS, shell=True, check=True, stderr=subprocess.DEVNULL)
        subprocess.run("set -e" + NETWORKS, shell=True, check=True)
        self.server.__enter__()
        self.server.psql("create database talk")
        self.server.psql(gate_refusals.SETUP, database="talk")
        self.move_to(SERVER4)
        return self

    def __exit__(self, *exc):
        self.server.__exit__(*exc)
        subprocess.run(NO_NETWORKS, shell=True, check=True, stderr=subprocess.DEVNULL)

    def move_to(self, address):
        self.hosts.write_text(f"127.0.0.1 localhost\n{address} {NAME}\n")

    def stack(self, on_failure="open"):
        rules = self.context.directory / "rules.yaml"
        rules.write_text(gate_refusals.RULES)
        stack = self.context.stack(self.server, settings=f"rules:\n  files: [{rules}]\n")
        stack.agent.more_databases = (f"  - name: far\n    engine: postgresql\n"
                                      f"    listen: [\"{NAME}:{self.port}\", \"[{SERVER6}]:{self.port}\"]\n"
                                      f"    mode: enforce\n    on_shim_failure: {on_failure}\n")
        stack.agent.prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                              f"mount --bind {self.hosts} /etc/hosts && exec \"$@\"", "sh"]
        return stack

    def session(self, host=SERVER4, **start):
        return wire.Session(self.port, host=host, **start)

    def found(self, host=SERVER4, **start):
        """What becomes of a connection, and of a statement that a rule refuses."""
        try:
            with self.session(host, **start) as session:
                refused = wire.errors(session.ask(wire.query("delete from guarded where id < 0 or true")))
                return "judged" if refused and refused[0]["C"] == "42501" else "direct"
        except ConnectionRefusedError:
            return "ECONNREFUSED"


def seen_as(session):
    """The client's address, as the server tells it."""
    rows = session.ask(wire.query("select host(client_addr) from pg_stat_activity where pid = pg_backend_pid()"))
    return next(body[6:].decode() for tag, body in rows if tag == b"D")


def far(context):
    with Site(context) as site, site.stack() as stack:
        for host, want in ((SERVER4, HOST4), (SERVER6, HOST6), (f"::ffff:{SERVER4}", HOST4)):
            with site.session(host) as session:
                require(session.socket.getpeername()[:2] == (host, site.port),
                        f"a client of {host} sees {session.socket.getpeername()}")
                require(seen_as(session) == want, f"the server sees {seen_as(session)}")
                require(wire.errors(session.ask(wire.query("delete from guarded /*mark_far*/")))[0]["C"] == "42501",
                        f"{host}: a rule is not enforced")
                require(not wire.errors(session.ask(wire.query("select 1"))), f"{host}: the session has ended")
        _waits_for_nobody(site)
        _records(site, stack, [])
        # A network namespace is served from a moment after its first program began.
        with subprocess.Popen([*in_network("gh-box"), "sleep", "600"]) as resident:
            try:
                stack.agent.wait_until(lambda: counter(stack, "redirect_networks") >= 2, "the container's network", 30)
                _records(site, stack, in_network("gh-box"))
            finally:
                resident.kill()
        with contextlib.closing(_psycopg(site)) as connection, connection.cursor() as cursor:
            cursor.execute("select count(*) from guarded")
            require(cursor.fetchone()[0] == 5, "psycopg does not get what it asked for")
        require("mark_far" not in site.server.log_text(), "a refused statement is in the server's log")
        _names_move(site, stack)
        _says_so(stack)
        _bypasses(site, stack)
        require(counter(stack, "redirect_networks") >= 2, "the container is not served")


def _waits_for_nobody(site):
    """connect() that does not wait."""
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex((SERVER4, site.port))
    client.settimeout(10)
    deadline = time.monotonic() + 10
    while client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) and time.monotonic() < deadline:
        time.sleep(0.01)
    with client:
        client.sendall(wire.startup())
        require(client.recv(1) == b"R" and client.getpeername() == (SERVER4, site.port),
                "a client that does not wait is not served")


def _psycopg(site):
    import psycopg2  # noqa: PLC0415
    return psycopg2.connect(host=SERVER4, port=site.port, user="postgres", dbname="talk")


def _records(site, stack, prefix):
    """Once, by whom, and with what became of it; from this network and from a container's."""
    mark = f"far-{len(prefix)}"
    script = "select 1 as before;\ndelete from guarded /*mark_far*/;\nselect 2 as after;\n"
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    done = subprocess.run([*prefix, *nobody, postgres.PSQL, "-XqAt", "-h", SERVER4, "-p", str(site.port), "-U",
                           "postgres", "-d", "talk"], input=script, check=False, capture_output=True, text=True,
                          cwd="/", env={**os.environ, "PGAPPNAME": mark, "HOME": "/nonexistent"})
    require(done.stdout == "1\n2\n", f"{mark}: psql printed {done.stdout!r} {done.stderr!r}")
    require("gate-delete-all" in done.stderr, f"{mark}: {done.stderr}")
    deadline = time.monotonic() + 30
    while True:
        events = [e for e in stack.collector.query(f'session.application == "{mark}"') if e["kind"] == "statement"]
        if len(events) >= 3 or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    time.sleep(1)  # whatever else there is of it
    events = [e for e in stack.collector.query(f'session.application == "{mark}"') if e["kind"] == "statement"]
    require(len(events) == 3, f"{mark}: {len(events)} events of 3 statements")
    for event in events:
        told = {name: field(event, name) for name in ("database.label", "actor.exe", "actor.user")}
        require(told == {"database.label": "far", "actor.exe": os.path.realpath(postgres.PSQL), "actor.user": "nobody"},
                f"{mark}: {told}")
        is_refused = "delete" in field(event, "statement.text")
        require(field(event, "verdict", "") == ("block" if is_refused else ""), f"{mark}: {event}")
    require(not stack.collector.query(f'session.application == "{mark}" && "gatehouse.bypass" in findings'),
            f"{mark}: what was judged is told to have gone past")


def _names_move(site, stack):
    require(site.found(MOVED4) == "direct", "an address that nobody named is gated")
    with site.session() as session:
        site.move_to(MOVED4)
        stack.agent.wait_until(lambda: site.found(MOVED4) == "judged", "judging where the name has moved to", 30)
        require(site.found() == "judged", "where the name was, nobody is judged any more")
        require(not wire.errors(session.ask(wire.query("select 1"))), "a session has not survived the move")


def _says_so(stack):
    from tests.support import gatehouse  # noqa: PLC0415
    said = subprocess.run([*stack.agent.prefix, gatehouse.AGENT, "doctor", "--config", stack.agent.config], check=False,
                          capture_output=True, text=True).stdout
    require(f"{MOVED4}:" in said and "on another host" in said, f"doctor does not say where the database is:\n{said}")


def _bypasses(site, stack):
    """Who goes past the shim is found: while the agent is stopped, and by a way that cannot be led."""
    agent = stack.agent.process
    agent.send_signal(signal.SIGSTOP)
    try:
        time.sleep(HEARTBEAT_SECONDS)
        session = site.session(application_name="aside-stopped")
    finally:
        agent.send_signal(signal.SIGCONT)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"gh-far0")
    client.connect((SERVER4, site.port))
    with session, client:
        session.ask(wire.query("select 'around'"))
        client.sendall(wire.startup(application_name="aside-bound"))
        client.recv(1)
        for name in ("aside-stopped", "aside-bound"):
            filter_text = f'"gatehouse.bypass" in findings && session.application == "{name}"'
            deadline = time.monotonic() + 30
            while not stack.collector.query(filter_text):
                require(time.monotonic() < deadline, f"no word of {name}")
                time.sleep(0.3)


def far_failure(context):
    """The agent stopped, or killed: `open` gives new clients to the server at once, `closed` refuses them."""
    from tests.e2e.gate import bpf_file_system  # noqa: PLC0415
    with bpf_file_system(), Site(context) as site:
        for policy, meanwhile in (("open", "direct"), ("closed", "ECONNREFUSED")):
            with site.stack(policy) as stack:
                _fails(site, stack, policy, meanwhile)
                if policy == "closed":  # it stays so when the agent has ended, until one only observes
                    stack.agent.more_databases = stack.agent.more_databases.replace("enforce", "observe")
                    require(stack.agent.stop() == 0, "the agent ended badly")
                    require(site.found() == meanwhile, "closed, and open when the agent has ended")
                    stack.agent.start()
                    stack.agent.wait_until(lambda: site.found() == "direct", "clients let go of", 30)
            require(site.found() == "direct", f"{policy}: clients are not let go of when the agent has ended")


def _fails(site, stack, policy, meanwhile):
    require(site.found() == "judged", f"{policy}: a rule is not enforced")
    agent = stack.agent
    agent.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(HEARTBEAT_SECONDS)
        require(site.found() == meanwhile, f"{policy}: while the agent is stopped: {site.found()}")
        require(site.found(f"::ffff:{SERVER4}") == meanwhile, f"{policy}: likewise by a mapped address")
    finally:
        agent.process.send_signal(signal.SIGCONT)
    agent.wait_until(lambda: site.found() == "judged", f"{policy}: judging after it was stopped", 10)
    agent.kill()
    for _ in range(3):
        require(site.found() == meanwhile, f"{policy}: after kill -9: {site.found()}")
    agent.start()
    agent.wait_until(lambda: site.found() == "judged", f"{policy}: judging after a restart", 30)
    if policy == "open":
        agent.wait_ready()
