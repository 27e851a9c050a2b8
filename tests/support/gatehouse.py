# SPDX-License-Identifier: Apache-2.0
"""Starts, stops, kills and asks the real binaries of the release preset."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from tests.support import postgres
from tests.support.oracle import field

BUILD = pathlib.Path(os.environ.get("GATEHOUSE_BUILD", postgres.ROOT / "build/release"))
AGENT = BUILD / "agent/gatehouse-agent"
COLLECTOR = BUILD / "collector/gatehouse-collector"
CLI = BUILD / "cli/gatehouse"

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
# An event is on its way this long at most when nothing is overloaded: batch, acknowledgement, the store's fresh tail.
SETTLE_SECONDS_MAX = 60


class Daemon:
    """A foreground daemon with its log in a file, in a process group of its own."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / f"{name}.log"
        self.process = None
        self.log_start = 0  # of the present run
        self.prefix = []  # what starts it, e.g. in a cgroup

    def run(self, *command, environment=None):
        with open(self.log, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen([str(c) for c in (*self.prefix, *command)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True,
                                            env={**os.environ, **(environment or {})})

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9: nothing of it gets to say goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM and a clean end; the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
                raise RuntimeError(f"{self.name} does not stop within {STOP_SECONDS_MAX} s:\n{self.tail()}") from None
        return self.process.returncode

    def tail(self, bytes_max=3000):
        return self.log.read_text(errors="replace")[-bytes_max:] if self.log.exists() else ""

    def says(self, text):
        """Whether the present run has logged it."""
        return text in self.text()

    def text(self):
        """What the present run has logged."""
        with open(self.log, "rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")

    def wait_until(self, holds, what, seconds_max=START_SECONDS_MAX):
        deadline = time.monotonic() + seconds_max
        while not holds():
            if not self.is_running:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode} before {what}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: no {what} within {seconds_max} s:\n{self.tail()}")
            time.sleep(0.1)


class Collector(Daemon):
    def __init__(self, directory, port):
        super().__init__("collector", directory)
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.state = self.directory / "collector-state"
        self.config = self.directory / "collector.yaml"
        self.settings = ""  # more of its configuration, as YAML

    def start(self):
        self.launch()
        self.wait_answering()
        return self

    def launch(self):
        self.config.write_text(f"collector:\n  name: e2e\n  state_dir: {self.state}\n  listen: {self.address}\n"
                               + self.settings)
        self.run(COLLECTOR, "--config", self.config)

    def wait_answering(self):
        self.wait_until(self._answers, "answer")

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return (self.state / "operator").exists() and self.cli("agents", check=False).returncode == 0

    def token(self):
        done = subprocess.run([COLLECTOR, "token", "--config", self.config], check=False, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"gatehouse-collector token: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def cli(self, *arguments, check=True):
        done = subprocess.run([CLI, *arguments, "--collector", self.address, "--credentials", self.state / "operator",
                               "--output", "json"], check=False, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120)
        if check and done.returncode != 0:
            raise RuntimeError(f"gatehouse {' '.join(arguments)}: {done.returncode}\n{done.stderr}")
        return done

    def agents(self):
        return [json.loads(line) for line in self.cli("agents").stdout.splitlines()]

    def query(self, filter_text="", **options):
        """All events that match, oldest first, as nested dictionaries."""
        arguments = ["query"] + ([filter_text] if filter_text else []) + ["--limit", "0"]
        for name, value in {"since": "1d", **options}.items():
            arguments += [f"--{name}", value]
        events = [json.loads(line) for line in self.cli(*arguments).stdout.splitlines()]
        return sorted(events, key=lambda e: (e["id"].rsplit("/", 1)[0], int(e["id"].rsplit("/", 1)[1])))


class Agent(Daemon):
    """`servers`: PostgreSQL clusters to name in the configuration; their `database.label` is pg<version>-<port>."""

    def __init__(self, directory, collector, servers, name="e2e-agent", settings=""):
        super().__init__("agent", directory)
        self.collector = collector
        self.servers = servers
        self.agent_name = name
        self.settings = settings
        self.own_settings = ""  # more of the section `agent`, as YAML
        self.database_settings = ""  # more of each of `databases`
        self.more_databases = ""  # more of `databases`, as YAML
        self.state = self.directory / "agent-state"
        self.config = self.directory / "agent.yaml"
        self.token_file = self.directory / "token"

    def write_config(self):
        databases = "".join(
            f"  - name: {label(s)}\n    engine: postgresql\n    listen: [\"127.0.0.1:{s.port}\", \"[::1]:{s.port}\", "
            f"\"unix:{s.socket_path}\"]\n" + self.database_settings for s in self.servers) + self.more_databases
        self.config.write_text(
            f"agent:\n  name: {self.agent_name}\n  state_dir: {self.state}\n" + self.own_settings +
            f"collector:\n  address: {self.collector.address}\n  enrolment_token_file: {self.token_file}\n"
            + (f"databases:\n{databases}" if databases else "") + self.settings)

    def start(self, *options):
        if not self.state.exists():
            self.token_file.write_text(self.collector.token() + "\n")
        self.write_config()
        self.run(AGENT, "--config", self.config, *options)
        return self

    def wait_ready(self):
        """Ready is when a statement that is run now can be asked for: the whole way works."""
        marks = []

        def sees_probe():
            marks.append(f"probe{len(marks)}.{time.time_ns()}")
            probe(self.servers[0], marks[-1])
            time.sleep(0.2)
            found = self.collector.cli("query", 'session.application == "probe"', "--since", "5m", check=False)
            return any(mark in found.stdout for mark in marks)

        self.wait_until(sees_probe, "probe statement recorded")
        return self


def label(server):
    return f"pg{server.version}-{server.port}"


def probe(server, mark):
    server.psql(f"select 1 /*gh:{mark}*/", env={**os.environ, "PGAPPNAME": "probe"})


def events_of(collector, server, more=""):
    """All events of this server, without those of the harness itself (psql() and probes, which are not "gh:")."""
    events = collector.query(f'database.label == "{label(server)}"' + more)
    return [e for e in events if not is_harness(e)]


def is_harness(event):
    # A probe that was under way as the agent began to watch has no name that is known.
    is_probe = "/*gh:probe" in field(event, "statement.text", "")
    return is_probe or field(event, "session.application") in ("psql", "probe")


def settle(collector, server, statements_min, seconds_max=SETTLE_SECONDS_MAX):
    """Asks until as many statements have arrived and no more follow; the events."""
    deadline = time.monotonic() + seconds_max
    last, events = -1, []
    while time.monotonic() < deadline:
        events = events_of(collector, server)
        statements = sum(e["kind"] == "statement" for e in events)
        if statements == last and statements >= statements_min:
            break
        last = statements
        time.sleep(1.5)
    return events


class Stack:
    """Collector and agent for a scenario; both end with it."""

    def __init__(self, directory, collector_port, servers, settings=""):
        self.collector = Collector(pathlib.Path(directory) / "gh", collector_port)
        self.agent = Agent(pathlib.Path(directory) / "gh", self.collector, servers, settings=settings)

    def __enter__(self):
        try:
            self.collector.start()
            self.agent.start().wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for daemon in (self.agent, self.collector):
            if daemon.is_running:
                daemon.stop()
