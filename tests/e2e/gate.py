# SPDX-License-Identifier: Apache-2.0
"""The shim in front of a server: nobody notices it until a rule says no.

GATEHOUSE_GATE_FULL=1 runs every client over every way to every server; without it each client runs once, plain, and the
ways and versions are shared out among those that differ by them.
"""

import contextlib
import errno
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

from tests.e2e import gate_hostile, gate_masks, gate_refusals, gate_talks
from tests.e2e.context import Failed, require
from tests.e2e.judged import counter
from tests.e2e.gate_talks import Way
from tests.support import hostile, postgres, tap, wire
from tests.support.oracle import field

IS_FULL = os.environ.get("GATEHOUSE_GATE_FULL") == "1"
VERSIONS = (15, 18, 14, 16, 17) if IS_FULL else (15, 18)
# Who brings a TLS library of its own.
TLS_TALKS = ("psql", "asyncpg", "node-postgres", "jdbc", "lib-pq")
# Other versions of the server say what 15 does, but for protocol 3.2.
OTHER_VERSION_TALKS = ("libpq-18",)
# The server listens here, too, and no place of the agent's names it: the way around the shim.
ASIDE = "127.0.0.2"
# The redirect takes the shim for dead after half a second.
HEARTBEAT_SECONDS = 1.0


class Site:
    """A server with data for talks, and two taps: client, outer tap, gated inner tap, server. The server's own places
    are gated, too, but for the one that the inner tap takes."""

    def __init__(self, context, version=15):
        self.context, self.version = context, version
        certificate = context.certificate()
        self.root_certificate, self.key = certificate["ssl_cert_file"], certificate["ssl_key_file"]
        self.server = context.server(version, hba=gate_talks.HBA, settings={
            **certificate, "listen_addresses": f"127.0.0.1,::1,{ASIDE}", "max_wal_senders": 8})
        self.directory = context.directory / f"talks-{version}"
        self.inner_port, self.outer_port = context.port(3), context.port(2)

    def __enter__(self):
        self.directory.mkdir()
        self.server.__enter__()
        gate_talks.prepare(self.server)
        if IS_FULL and self.version == 15:
            self.server.subscriber = self.context.server(15, number=4).start()
        return self

    def __exit__(self, *exc):
        if hasattr(self.server, "subscriber"):
            self.server.subscriber.close()
        self.server.__exit__(*exc)

    @contextlib.contextmanager
    def taps(self, **inner):
        with tap.Tap(self.inner_port, (ASIDE, self.server.port), **inner) as second, \
             tap.Tap(self.outer_port, ("127.0.0.1", self.inner_port)) as first:
            yield first, second

    def stack(self, settings="", on_failure="open"):
        """An agent that enforces at the server's places and at the inner tap's."""
        stack = self.context.stack(self.server, settings=settings)
        enforce = (f"    mode: enforce\n    on_shim_failure: {on_failure}\n"
                   f"    tls: {{certificate: {self.root_certificate}, key: {self.key}}}\n")
        stack.agent.database_settings = enforce
        stack.agent.more_databases = (f"  - name: tapped\n    engine: postgresql\n    listen: "
                                      f"[\"127.0.0.1:{self.inner_port}\", \"[::1]:{self.inner_port}\"]\n{enforce}")
        return stack

    def direct(self):
        return Way("direct", ASIDE, self.server.port)

    def tapped(self):
        return Way("tapped", "127.0.0.1", self.outer_port)

    def tls(self):
        return Way("tls", "localhost", self.server.port, root_certificate=self.root_certificate)

    def more_ways(self):
        """Only a full run takes these with all clients."""
        return (Way("v6", "::1", self.server.port), Way("unix", str(self.server.socket_dir), self.server.port),
                Way("peer", str(self.server.socket_dir), self.server.port, user="root"))

    def direct_negotiation(self):
        """TLS from the first byte: libpq and servers from 17 on."""
        return Way("tls-at-once", "localhost", self.server.port, root_certificate=self.root_certificate,
                   more={"PGSSLNEGOTIATION": "direct"})

    def talk(self, talk, way):
        return gate_talks.run(talk, way, self.server, self.directory)


def chosen(talks, version, names=None):
    found = [t for t in talks if version in t.versions and (t.is_default or IS_FULL)
             and (names is None or IS_FULL or t.name in names)]
    require(found, "no talks")
    return found


def harness(context):
    """The comparison itself: direct against direct is equal, and a proxy that drops one notice is found."""
    talks = gate_talks.all_talks(gate_talks.Programs(context.directory / "talk-programs"))
    with Site(context) as site:
        known = [t for t in chosen(talks, 15) if IS_FULL or t.name in ("psql", "libpq", "psycopg3", "jdbc")]
        with site.taps() as (outer, inner):
            for talk in known:
                want = site.talk(talk, site.direct())
                gate_talks.require_talked(talk, want)
                gate_talks.require_equal(f"{talk.name}, again", want, site.talk(talk, site.tapped()))
                gate_talks.require_same_bytes(outer.take(), inner.take())
        site.server.psql("drop database if exists talk with (force)")
        site.server.psql("create database talk")
        site.server.psql(gate_refusals.SETUP, database="talk")
        with site.taps() as (_, inner):
            gate_refusals.self_test(site.outer_port, site.server.port, inner)
        with site.taps(make_edit=tap.drop_first_notice):
            for talk in known:
                if talk.name.startswith(("pgbench", "pg_dump", "replication")):
                    continue  # they get none
                want = (site.directory / f"{talk.name}-direct.txt").read_text()
                try:
                    gate_talks.require_equal(talk.name, want, site.talk(talk, site.tapped()))
                except Failed:
                    continue
                raise Failed(f"{talk.name} does not see that a notice is missing")


def talks(context):
    """Every client says and gets the same with the shim between as without, byte for byte where there is no TLS."""
    talks_known = gate_talks.all_talks(gate_talks.Programs(context.directory / "talk-programs"))
    failures = []
    for version in VERSIONS:
        with Site(context, version) as site:
            failures += _talk(site, chosen(talks_known, version, None if version == 15 else OTHER_VERSION_TALKS))
    require(not failures, f"{len(failures)} talks are not as without the shim:\n" + "\n".join(failures))


def _ways(site, talk):
    """The ways of a talk through the shim."""
    ways = [site.tapped()]
    if IS_FULL or talk.name in TLS_TALKS:
        ways.append(site.tls())
    if IS_FULL or talk.name == "libpq":
        ways += site.more_ways()
    if site.version >= 17 and talk.name == "libpq-18":
        ways.append(site.direct_negotiation())
    return [w for w in ways if talk.suits(w, site.version)]


def _talk(site, talks_here):
    want, failures = {}, []
    for talk in talks_here:
        want[talk.name, False] = site.talk(talk, site.direct())
        gate_talks.require_talked(talk, want[talk.name, False])
        if any(w.root_certificate for w in _ways(site, talk)):
            want[talk.name, True] = site.talk(talk, site.tls())
            gate_talks.require_talked(talk, want[talk.name, True])
    with site.taps() as (outer, inner), site.stack() as stack:
        require_inline(stack, site.server.port)
        for talk in talks_here:
            for way in _ways(site, talk):
                started = time.monotonic()
                outer.take(), inner.take()
                try:
                    got = site.talk(talk, way)
                    gate_talks.require_equal(f"{talk.name} {way.name} {site.version}",
                                             want[talk.name, bool(way.root_certificate)], got)
                    if way.name == "tapped":
                        gate_talks.require_same_bytes(outer.take(), inner.take())
                    print(f"    {talk.name} {way.name} {site.version}: {time.monotonic() - started:.1f} s", flush=True)
                except (Failed, subprocess.TimeoutExpired) as failure:
                    failures.append(str(failure))
                    print("   ", failures[-1], flush=True)
        require(stack.agent.is_running, "the agent has ended")
    return failures


def is_inline(stack, port, host="127.0.0.1"):
    """Whether a new connection there ends in the agent: by the kernel's own list of sockets."""
    with wire.Session(port, host=host, database="postgres") as session:
        mine = session.socket.getsockname()[1]
        found = subprocess.run(["ss", "-Htnp", f"sport = :{port} and dport = :{mine}"], check=True,
                               capture_output=True, text=True).stdout
        return f"pid={stack.agent.process.pid}," in found


def require_inline(stack, port):
    for host in ("127.0.0.1", "::1"):
        require(is_inline(stack, port, host), f"the shim is not between a client and {host}:{port}")
    require(not is_inline(stack, port, ASIDE), "the way around the shim leads through it")


def _write_rules(context, text=gate_refusals.RULES):
    path = context.directory / "rules.yaml"
    path.write_text(text)
    return f"rules:\n  files: [{path}]\n"


def refusals(context):
    """However a refused statement is written, cut or hidden, the server gets no byte of it and the session goes on."""
    with Site(context) as site:
        site.server.psql("create database talk")
        site.server.psql(gate_refusals.SETUP, database="talk")
        with site.taps() as (_, inner), site.stack(_write_rules(context)) as stack:
            require_inline(stack, site.server.port)
            gate_refusals.run(site.outer_port, (site.server.port, ASIDE), inner, site.server,
                              gate_refusals.all_cases(), IS_FULL)
            _require_unseen(stack, site)


def _require_unseen(stack, site):
    """No refused statement is in the server's log; the direct sessions of the reference carry no mark."""
    leaked = re.findall(r"mark_\d+_", site.server.log_text())
    require(not leaked, f"in the server's log: {leaked[:5]}")
    require(stack.agent.is_running, "the agent has ended")


def refusals_by_catalog(context):
    """Likewise what a view, a function or the search path leads to, where a catalog tells."""
    with Site(context) as site:
        site.server.psql("create database talk")
        site.server.psql(gate_refusals.SETUP, database="talk")
        stack = site.stack(_write_rules(context, gate_refusals.CATALOG_RULES))
        catalog = (f"    catalog:\n      connection: host={ASIDE} port={site.server.port} user=postgres\n"
                   "      databases: [talk]\n")
        stack.agent.database_settings += catalog
        stack.agent.more_databases += catalog
        with site.taps() as (_, inner), stack:
            stack.agent.wait_until(lambda: counter(stack, "catalogs_loaded") >= 2, "catalogs", 90)
            gate_refusals.run(site.outer_port, (site.server.port, ASIDE), inner, site.server,
                              list(gate_refusals.catalog_cases()), IS_FULL)
            _require_unseen(stack, site)


def masks(context):
    """What a mask names does not reach the client, however it is asked for; what it does not name comes unchanged."""
    seed = int(os.environ.get("GATEHOUSE_SEED", "0")) or int(time.time())
    print(f"    GATEHOUSE_SEED={seed}")
    values = gate_masks.Values(seed)
    with Site(context) as site:
        gate_masks.fill(site.server, values)
        stack = site.stack(_write_rules(context, gate_masks.RULES))
        stack.agent.database_settings += (f"    catalog:\n      connection: host={ASIDE} port={site.server.port} "
                                          "user=postgres\n      databases: [talk]\n")
        with stack:
            stack.agent.wait_until(lambda: counter(stack, "catalogs_loaded") >= 1, "catalogs", 90)
            gate_masks.benign(site.server.port, ASIDE)
            gate_masks.self_test(site.server.port, ASIDE, values, seed, 300)
            gate_masks.evasions(site.server.port, values, seed, 4000 if IS_FULL else 300)
            gate_masks.planned(site.server.port, values)
            _masks_recorded(stack, site)
            _limits(site)
            require(stack.agent.is_running, "the agent has ended")


def _masks_recorded(stack, site):
    """Columns, methods, counts and the mask, on the statement's event; whom a mask does not concern, it does not."""
    trusted = gate_masks.Client(site.server.port, False, "trusted")
    sql = "select id, name, email, city from customers where id <= 3 /* recorded */"
    trusted.run(sql)
    trusted.close()
    client = gate_masks.Client(site.server.port, True)
    client.run(sql)
    client.close()

    def told():
        return stack.collector.query('statement.text.contains("/* recorded */")')

    stack.agent.wait_until(lambda: len(told()) == 2, "both statements", 30)
    by_user = {field(e, "session.user"): e for e in told()}
    require(sorted(field(by_user["postgres"], "masked")) == [
        "public.customers.email partial 3 contact", "public.customers.name hash 3 names"], by_user["postgres"])
    require(field(by_user["postgres"], "verdict") == "mask", by_user["postgres"])
    require(set(field(by_user["postgres"], "findings")) == {"contact", "names", "later"}, by_user["postgres"])
    require(field(by_user["trusted"], "masked") == ["public.customers.email partial 3 contact"], by_user["trusted"])


def _limits(site):
    """A result is cut with an error, and the transaction is failed at both ends."""
    for binary in (False, True):
        client = gate_masks.Client(site.server.port, binary)
        got, error = client.run("select id from many")
        require(error == "42501" and b"cut after 1000 rows" in got, (error, got[-200:]))
        got, error = client.run("select count(*) from many")
        require(error is None, (error, got))
        client.run("begin")
        _, error = client.run("select id from many")
        require(error == "42501", error)
        _, error = client.run("select 1")
        require(error == "25P02", f"the transaction goes on: {error}")
        client.run("rollback")
        _, error = client.run("select 1")
        require(error is None, error)
        client.close()


def record(context):
    """What was refused, who asked for it, and what went on: in the record."""
    with Site(context) as site:
        site.server.psql("create database talk")
        site.server.psql(gate_refusals.SETUP, database="talk")
        with site.stack(_write_rules(context)) as stack:
            for way in (Way("plain", "127.0.0.1", site.server.port), Way("unix", str(site.server.socket_dir),
                                                                         site.server.port), site.tls()):
                _records(stack, way)
            _records_bypass(stack, site)


def _records(stack, way):
    mark = f"record-{way.name}"
    script = "select 1 as before;\ndelete from guarded;\nselect v from secrets;\nselect 2 as after;\n"
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    done = subprocess.run([*nobody, postgres.PSQL, "-XqAt"], input=script, check=False, capture_output=True, text=True,
                          cwd="/", env={**way.environment, "PGAPPNAME": mark, "HOME": "/nonexistent"})
    require(done.stdout == "1\n2\n", f"{mark}: psql printed {done.stdout!r} {done.stderr!r}")
    require("Add a WHERE clause." in done.stderr and "gate-delete-all" in done.stderr, f"{mark}: {done.stderr}")
    deadline = time.monotonic() + 30
    while True:
        events = [e for e in stack.collector.query(f'session.application == "{mark}"') if e["kind"] == "statement"]
        if len(events) >= 4 or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    found = {field(e, "statement.text").rstrip(";"): e for e in events}
    require(len(events) == 4 and len(found) == 4, f"{mark}: events of {list(found)}")
    for text, rule in (("delete from guarded", "gate-delete-all"), ("select v from secrets", "gate-secrets")):
        event = found[text]
        require(field(event, "verdict") == "block" and field(event, "findings") == [rule], f"{mark}: {event}")
        require(field(event, "actor.exe") == os.path.realpath(postgres.PSQL), f"{mark}: {field(event, 'actor.exe')}")
        require(field(event, "actor.user") == "nobody", f"{mark}: {field(event, 'actor.user')}")
        require(field(event, "outcome") == "error" and field(event, "result.sqlstate") == "42501", f"{mark}: {event}")
    for text in ("select 1 as before", "select 2 as after"):
        require(field(found[text], "verdict", "") in ("", "allow") and field(found[text], "outcome") == "ok",
                f"{mark}: {found[text]}")
    blocked = stack.collector.query(f'verdict == "block" && session.application == "{mark}"')
    require(len(blocked) == 2, f"{mark}: {len(blocked)} events were blocked")


def _records_bypass(stack, site):
    """A session that reached the server while the shim could not judge it is a finding."""
    agent = stack.agent.process
    agent.send_signal(signal.SIGSTOP)
    try:
        time.sleep(HEARTBEAT_SECONDS)
        session = wire.Session(site.server.port, application_name="aside", database="postgres")
    finally:
        agent.send_signal(signal.SIGCONT)
    with session:
        session.ask(wire.query("select 'around'"))
        deadline = time.monotonic() + 30
        while not (found := stack.collector.query('"gatehouse.bypass" in findings && session.application == "aside"')):
            require(time.monotonic() < deadline, "no word of a session that passed the shim by")
            time.sleep(0.3)
        print(f"    bypass: {len(found)} events", flush=True)


def peers(context):
    """Hostile clients, hostile servers, resets and slow ends: no crash, nothing kept, always an event."""
    with Site(context) as site, hostile.Server(site.inner_port):
        site.server.psql("create database talk")
        with site.stack(_write_rules(context)) as stack:
            require_inline(stack, site.server.port)
            gate_hostile.run(stack, site.server.port, site.inner_port)


def _connects(port):
    """Whether a statement can be run, and what refused it; a refusal of the connection is its error's name."""
    try:
        with wire.Session(port) as session:
            refused = wire.errors(session.ask(wire.query("delete from guarded")))
            return "judged" if refused and refused[0]["C"] == "42501" else "direct"
    except wire.Closed:
        return "closed"
    except socket.timeout:
        return "hangs"
    except OSError as failure:
        return errno.errorcode.get(failure.errno, str(failure))


@contextlib.contextmanager
def bpf_file_system():
    """`closed` pins there what outlives the agent."""
    is_there = os.path.ismount("/sys/fs/bpf")
    if not is_there:
        subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True)
    try:
        yield
    finally:
        if not is_there:
            subprocess.run(["umount", "/sys/fs/bpf"], check=False)


def failure(context):
    """The agent stopped, or killed: `open` gives new clients to the server at once, `closed` refuses them."""
    with bpf_file_system(), Site(context) as site:
        site.server.psql("create database talk")
        site.server.psql(gate_refusals.SETUP, database="talk")
        port = site.server.port
        for policy, meanwhile in (("open", "direct"), ("closed", "ECONNREFUSED")):
            with site.stack(_write_rules(context), policy) as stack:
                _fails(stack, port, policy, meanwhile)
                if policy == "closed":  # it stays so when the agent has ended, until one only observes
                    stack.agent.database_settings = stack.agent.database_settings.replace("enforce", "observe")
                    stack.agent.more_databases = stack.agent.more_databases.replace("enforce", "observe")
                    require(stack.agent.stop() == 0, "the agent ended badly")
                    require(_connects(port) == meanwhile, "closed, and open when the agent has ended")
                    stack.agent.start()
                    stack.agent.wait_until(lambda: _connects(port) == "direct", "clients let go of", 30)
            require(_connects(port) == "direct", f"{policy}: clients are not let go of when the agent has ended")


def reload(context):
    """mode: enforce begins and ends with SIGHUP; sessions that are open stay what they are."""
    with Site(context) as site:
        site.server.psql("create database talk")
        site.server.psql(gate_refusals.SETUP, database="talk")
        port = site.server.port
        harmless, guarded = wire.query("select 1"), wire.query("delete from guarded")
        with site.stack(_write_rules(context)) as stack:
            agent = stack.agent

            def turn_to(mode, found):
                other = "observe" if mode == "enforce" else "enforce"
                agent.config.write_text(agent.config.read_text().replace(f"mode: {other}", f"mode: {mode}"))
                agent.process.send_signal(signal.SIGHUP)
                agent.wait_until(lambda: _connects(port) == found, f"mode {mode} after SIGHUP", 10)

            require(_connects(port) == "judged", "a rule is not enforced")
            with wire.Session(port) as judged:
                turn_to("observe", "direct")
                require(wire.errors(judged.ask(guarded))[0]["C"] == "42501", "an open session is not judged any more")
                require(not wire.errors(judged.ask(harmless)), "an open session has suffered")
                with wire.Session(port) as direct:
                    turn_to("enforce", "judged")
                    require(not wire.errors(direct.ask(harmless)), "a session from before has suffered")
                    require(wire.errors(judged.ask(guarded))[0]["C"] == "42501", "the first session is not judged")
            good = agent.config.read_text()
            agent.config.write_text(good + "nonsense: 1\n")
            agent.process.send_signal(signal.SIGHUP)
            agent.wait_until(lambda: agent.says("configuration was not read again"), "word of a bad configuration", 10)
            require(_connects(port) == "judged", "a configuration that cannot be read has changed something")
            agent.config.write_text(good)
            # Of the sessions of the first path nothing is left, and what they did is in the record.
            agent.wait_until(lambda: counter(stack, "shim_sessions_open") == 0, "the end of open sessions", 30)


def _fails(stack, port, policy, meanwhile):
    require(_connects(port) == "judged", f"{policy}: a rule is not enforced")
    agent = stack.agent
    agent.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(HEARTBEAT_SECONDS)
        for _ in range(3):
            found = _connects(port)
            require(found == meanwhile, f"{policy}: while the agent is stopped: {found}")
    finally:
        agent.process.send_signal(signal.SIGCONT)
    agent.wait_until(lambda: _connects(port) == "judged", f"{policy}: judging after it was stopped", 10)
    agent.kill()
    for _ in range(3):
        found = _connects(port)
        require(found == meanwhile, f"{policy}: after kill -9: {found}")
    agent.start()
    agent.wait_until(lambda: _connects(port) == "judged", f"{policy}: judging after a restart", 30)
    if policy == "open":
        agent.wait_ready()
