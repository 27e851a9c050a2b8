# SPDX-License-Identifier: Apache-2.0
"""What scripts/bench shim measures: a server, the shim before it, and the peers that also stand before servers. Each
has a cgroup of its own, so that its CPU time is known."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

from tests.bench.watch import SCALE, SETTINGS
from tests.support import gatehouse, postgres
from tests.support.cgroup import Cgroup

RULES_COUNT = 1000
START_SECONDS_MAX = 20
COPY_ROW_BYTES = 1000
PEERS = ("pgbouncer", "haproxy", "stunnel4")  # Debian packages

_PGBOUNCER = """[databases]
bench = host=127.0.0.1 port={server} dbname=bench user=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = session
max_client_conn = 100
default_pool_size = 50
unix_socket_dir =
ignore_startup_parameters = extra_float_digits
logfile = {directory}/pgbouncer-{port}.log
pidfile = {directory}/pgbouncer-{port}.pid
"""
_PGBOUNCER_TLS = """client_tls_sslmode = require
client_tls_key_file = {key}
client_tls_cert_file = {certificate}
server_tls_sslmode = require
"""
_HAPROXY = """global
  maxconn 1000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:{port}
  server s 127.0.0.1:{server}
"""
_STUNNEL = """foreground = yes
pid =
debug = 3
[bench]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{server}
protocol = pgsql
cert = {certificate}
key = {key}
"""


def rules():
    """As sets grow in practice: the same few questions asked of ever more databases, tables and people."""
    conditions = (
        '"delete" in statement.effects && !statement.filters_rows && database.name == "shop{n}"',
        '"salaries{n}" in statement.reads',
        '"drop" in statement.effects && statement.objects.exists(o, o.name.startsWith("tmp{n}"))',
        'statement.verb == "SELECT" && database.name in ["crm{n}", "erp{n}"]',
        '"grant" in statement.effects && statement.text.contains("role{n}")',
        '"ledger{n}" in statement.writes && actor.name != "books{n}"',
    )
    return "rules:\n" + "".join(
        f"  - id: bench-{n}\n    on: statement\n    then: block\n    mode: active\n    when: |\n      "
        f"{conditions[n % len(conditions)].replace('{n}', str(n))}\n" for n in range(RULES_COUNT))


class Sites:
    """Ports: the server's, the collector's, and one for each peer."""

    def __init__(self, directory, first_port):
        self.directory = pathlib.Path(directory)
        self.groups = {name: Cgroup(name) for name in ("client", "server", "agent", "peer", "collector")}
        self.key, self.certificate = self.directory / "server.key", self.directory / "server.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-keyout", self.key, "-out", self.certificate], check=True,
                       capture_output=True)
        shutil.chown(self.key, postgres.SERVER_USER)
        self.server = postgres.Postgres(15, self.directory / "plain", first_port, prefix=self.groups["server"].prefix,
                                        settings={**SETTINGS, "ssl": "on", "ssl_key_file": str(self.key),
                                                  "ssl_cert_file": str(self.certificate)})
        self.collector = gatehouse.Collector(self.directory / "gh", first_port + 1)
        self.collector.prefix = self.groups["collector"].prefix
        self.agent = gatehouse.Agent(self.directory / "gh", self.collector, [self.server])
        self.agent.prefix = self.groups["agent"].prefix
        self.agent.database_settings = (f"    mode: enforce\n    tls: {{certificate: {self.certificate}, "
                                        f"key: {self.key}}}\n")
        self.rules_file = self.directory / "rules.yaml"
        self.rules_file.write_text(rules())
        self.ports = {name: first_port + 2 + n for n, name in enumerate(("pgbouncer", "haproxy", "pgbouncer-tls",
                                                                         "stunnel"))}
        self._peers = {}

    def start(self, with_shim):
        self.server.start()
        self.server.psql("create role bench login superuser")
        self.server.psql("create database bench owner bench")
        subprocess.run([postgres.PGBENCH, "-i", "-q", "-s", str(SCALE), "-h", self.server.socket_dir, "-p",
                        str(self.server.port), "-U", "bench", "bench"], check=True, capture_output=True)
        self.server.psql(f"create table wide as select repeat('x', {COPY_ROW_BYTES}) as c "
                         "from generate_series(1, 50000)", database="bench")
        if with_shim:
            self.collector.start()

    def close(self):
        for peer in self._peers.values():
            peer.terminate()
            peer.wait()
        for daemon in (self.agent, self.collector):
            daemon.stop()
        self.server.close()
        for group in self.groups.values():
            group.remove()

    def start_peer(self, name):
        """Once; it costs nothing while nobody comes to it."""
        if name in self._peers:
            return
        values = {"server": self.server.port, "port": self.ports[name], "directory": self.directory, "key": self.key,
                  "certificate": self.certificate}
        config = self.directory / f"{name}.conf"
        text, command = {
            "pgbouncer": (_PGBOUNCER, ["/usr/sbin/pgbouncer", "-u", postgres.SERVER_USER, config]),
            "pgbouncer-tls": (_PGBOUNCER + _PGBOUNCER_TLS, ["/usr/sbin/pgbouncer", "-u", postgres.SERVER_USER, config]),
            "haproxy": (_HAPROXY, ["/usr/sbin/haproxy", "-q", "-db", "-f", config]),
            "stunnel": (_STUNNEL, ["/usr/bin/stunnel4", config]),
        }[name]
        config.write_text(text.format(**values))
        shutil.chown(self.directory, postgres.SERVER_USER)
        log = open(self.directory / f"{name}.log", "ab")
        self._peers[name] = subprocess.Popen([str(c) for c in (*self.groups["peer"].prefix, *command)], stdout=log,
                                             stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ports[name]), 1).close()
                return
            except OSError:
                if self._peers[name].poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / f"{name}.log").read_text()
                    raise RuntimeError(f"{name} does not start:\n{log}") from None
                time.sleep(0.1)

    def start_shim(self, with_rules):
        self.agent.settings = f"rules:\n  files: [{self.rules_file}]\n" if with_rules else ""
        self.agent.start().wait_ready()

    def stop_shim(self):
        self.agent.stop()

    def cpu_ns(self, *names):
        return sum(self.groups[name].cpu_ns() for name in names)


def install_peers():
    """What is compared with, where it is not there yet."""
    missing = [p for p in PEERS if subprocess.run(["dpkg-query", "-W", p], check=False,
                                                  capture_output=True).returncode != 0]
    if missing:
        print(f"installing {' '.join(missing)} from Debian", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL, env=environment)
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], check=True,
                       stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment)
