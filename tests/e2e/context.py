# SPDX-License-Identifier: Apache-2.0
"""What a scenario gets: a directory, ports of its own, and the compiled clients."""

import dataclasses
import os
import pathlib
import subprocess
import tempfile

from tests.support import gatehouse, oracle, postgres, serverlog, workload


class Failed(Exception):
    """The product did not do what the scenario asks of it; the message says what."""


def require(holds, what):
    if not holds:
        raise Failed(what)


@dataclasses.dataclass
class Context:
    directory: pathlib.Path
    first_port: int
    programs: workload.Programs
    size: int  # scales the workloads

    def port(self, number):
        return self.first_port + number

    def server(self, version=15, number=1, oracle_log=True, **kwargs):
        settings = {**(postgres.ORACLE_SETTINGS if oracle_log else {}), **kwargs.pop("settings", {})}
        return postgres.Postgres(version, self.directory / f"pg{version}-{number}", self.port(number),
                                 settings=settings, **kwargs)

    def certificate(self):
        """Settings of a server that offers TLS."""
        key, certificate = self.directory / "server.key", self.directory / "server.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out",
                        certificate], check=True, capture_output=True)
        subprocess.run(["chown", postgres.SERVER_USER, key, certificate], check=True)
        return {"ssl": "on", "ssl_key_file": str(key), "ssl_cert_file": str(certificate)}

    def stack(self, *servers, settings=""):
        return gatehouse.Stack(self.directory, self.port(0), servers, settings=settings)

    def workload(self, server, tag="w"):
        return workload.Workload(server, self.programs, self.directory / f"workload-{tag}", seed_tag=tag)


def new_directory(parent=None):
    """A directory that the server's user can pass through; mkdtemp makes it private to root."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="gatehouse-e2e-", dir=parent))
    os.chmod(path, 0o755)
    return path


def log_of(server):
    """The clients' sessions. What fails its password has told the server no application name yet."""
    log = serverlog.ServerLog(server.log_text())
    return log.by_application("gh:") + [s for s in log.sessions.values() if s.fatal_sqlstate == "28P01"]


def statements_in(sessions):
    return sum(len(s.statements) for s in sessions)


def judge(collector, server, load, knowledge=()):
    """Waits for the events of `load`, compares them with the server's log; the verdict and the events."""
    sessions = log_of(server)
    events = gatehouse.settle(collector, server, statements_in(sessions))
    return oracle.compare(sessions, events, load.executables, knowledge), events


def require_clean(verdict):
    print("   ", verdict)
    require(verdict.is_clean, "the record differs from the server's log")


def require_contiguous(collector):
    """Every boot's sequence numbers are there, each once, and the collector counts none as missing."""
    numbers = {}
    for event in collector.query():
        boot, _, sequence = event["id"].rpartition("/")
        numbers.setdefault(boot, []).append(int(sequence))
    require(numbers, "no events at all")
    for boot, found in numbers.items():
        found.sort()
        require(len(found) == len(set(found)), f"boot {boot}: event ids repeat")
        require(found == list(range(1, len(found) + 1)),
                f"boot {boot}: {len(found)} events, numbers {found[0]} to {found[-1]}")


def require_verified(stack):
    """The log as it is on disk: every hash holds, every sequence number is there."""
    done = subprocess.run([gatehouse.CLI, "verify", stack.collector.state / "ledger"], check=False,
                          capture_output=True, text=True)
    require(done.returncode == 0, f"gatehouse verify: {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-500:]}")
