# SPDX-License-Identifier: Apache-2.0
"""A mixed workload of real clients, each of which can be told apart in the server's log.

Every client connects as application "gh:PROGRAM:PID", where PID is its own: the launcher is a shell that names itself
and then becomes the client. So the server's log alone says which process every session belongs to; a tag
"/*gh:N pid:PID*/" overrules it for statements that a forked child wrote. Clients print what they know of a statement
(rows, SQLSTATE, skipped) as JSON lines.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import subprocess
import sys

from tests.support import postgres

CLIENTS = postgres.ROOT / "tests/e2e/clients"
PYTHON = "/usr/bin/python3"  # Debian's, which has the database drivers
JDBC_JAR = "/usr/share/java/postgresql.jar"
CLIENT_SECONDS_MAX = 180

PASSWORD = "never-to-be-recorded"

# user, database: names that need quoting on the way are part of the test.
USERS = ("app", "report", "o'user \"x\"")
DATABASES = ("shop", "data base")

SCHEMA = """
create table if not exists item (id int primary key, name text);
insert into item select g, 'item ' || g from generate_series(1, 10) g on conflict do nothing;
create table if not exists journal (id bigserial primary key, entry text);
grant all on all tables in schema public to public;
grant all on all sequences in schema public to public;
create or replace function nested(n int) returns int language plpgsql as
  $$ begin perform 1 from item where id = n; return n; end $$;
"""


def prepare(server):
    """Roles, databases and tables, and pgbench's tables in the first database."""
    for user in USERS:
        server.psql('create role "{}" login superuser'.format(user.replace('"', '""')))
    server.psql(f"create role {postgres.PASSWORD_USER} login superuser password '{PASSWORD}'")
    for database in DATABASES:
        server.psql(f'create database "{database}"')
        server.psql(SCHEMA, database=database)
        subprocess.run([postgres.PGBENCH, "-i", "-q", "-h", server.socket_dir, "-p", str(server.port), "-U", "postgres",
                        database], check=True, capture_output=True)


class Programs:
    """The compiled clients, built once into `directory`."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        include = subprocess.run(["pg_config", "--includedir"], check=True, capture_output=True,
                                 text=True).stdout.strip()
        for name in ("pipeline", "share_socket"):
            subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{postgres.ROOT}", f"-I{include}", "-o",
                            self.directory / name, CLIENTS / f"{name}.c", "-lpq"], check=True)
        subprocess.run(["javac", "-d", self.directory, CLIENTS / "JdbcClient.java"], check=True)

    def path(self, name):
        return self.directory / name


@dataclasses.dataclass
class Client:
    label: str
    process: subprocess.Popen
    output: pathlib.Path


class Workload:
    """Launches clients against one server and waits for them."""

    def __init__(self, server, programs, directory, seed_tag="w"):
        self.server = server
        self.programs = programs
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.clients = []
        self.environment = {}  # of every client, beside its own
        self.executables = {}  # PROGRAM of "gh:PROGRAM:PID" -> path that the kernel shows
        self._tags = (f"{seed_tag}{n}" for n in itertools.count())
        self._who = itertools.cycle(itertools.product(USERS, DATABASES))

    def endpoints(self):
        return ("127.0.0.1", "::1", str(self.server.socket_dir))

    def tag(self):
        return next(self._tags)

    def launch(self, label, command, host, user=None, database=None, environment=None, stdin=None):
        """Starts a client as "gh:LABEL:PID"; its connection comes from PG* variables."""
        if user is None:
            user, database = next(self._who)
        executable = os.path.realpath(command[0])
        known = self.executables.setdefault(label, executable)
        assert known == executable, f"{label} is {known} and {executable}"
        output = self.directory / f"{len(self.clients):03d}-{label}.out"
        env = {**os.environ, "PGHOST": host, "PGPORT": str(self.server.port), "PGUSER": user, "PGDATABASE": database,
               "PGSSLMODE": "disable", "PGGSSENCMODE": "disable", **self.environment, **(environment or {})}
        with open(output, "wb") as out:
            process = subprocess.Popen(["/bin/sh", "-c", f'export PGAPPNAME="gh:{label}:$$"; exec "$@"', "sh",
                                        *map(str, command)],
                                       stdout=out, stderr=subprocess.STDOUT, stdin=stdin or subprocess.DEVNULL, env=env)
        self.clients.append(Client(label, process, output))
        return process

    def wait(self, failure_expected=False):
        """Waits for all; their knowledge of statements, in the order they wrote it."""
        knowledge = []
        for client in self.clients:
            try:
                code = client.process.wait(CLIENT_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                client.process.kill()
                client.process.wait()
                code = "killed: it took too long"
            text = client.output.read_text(encoding="utf-8", errors="replace")
            if code not in (0, 3) and not failure_expected:  # psql ends with 3 after an error in a script
                raise RuntimeError(f"client {client.label} ended with {code}:\n{text[-3000:]}")
            knowledge += [json.loads(line) for line in text.splitlines() if line.startswith('{"tag"')]
        self.clients.clear()
        return knowledge

    # One method for each kind of client. `rounds` scales all of them alike.

    def psql(self, host, rounds):
        psql = [postgres.PSQL, "-X", "-q"]
        for _ in range(rounds):
            self.launch("psql", [*psql, "-c", f"select 1 /*gh:{self.tag()}*/", "-c",
                                 f"select nested(3); select 'two in one message' /*gh:{self.tag()}*/"], host)
        script = self.directory / f"script-{self.tag()}.sql"
        script.write_text(self._psql_script(rounds), encoding="utf-8")
        self.launch("psql", [*psql, "-f", script], host)

    def _psql_script(self, rounds):
        tag = self.tag
        data = self.directory / f"copy-{tag()}.txt"
        data.write_text("".join(f"row {n}\n" for n in range(1000)))
        data.chmod(0o644)
        one = [
            "begin;",
            f"declare c cursor for select * from generate_series(1, 100) /*gh:{tag()}*/;",
            "fetch 10 from c;", "move 5 in c;", "fetch all from c;", "close c;", "commit;",
            f"prepare q(int, text) as select $1, $2 /*gh:{tag()}*/;",
            "execute q(1, 'a''b');", "execute q(2, null);", "deallocate q;",
            f"\\copy journal (entry) from '{data}'",
            "\\copy (select * from journal limit 50) to /dev/null",
            f"copy journal (entry) from stdin /*gh:{tag()}*/;", "inline 1", "inline 2", "\\.",
            f"select * from nowhere /*gh:{tag()}*/;",
            f"select 1/0 /*gh:{tag()}*/;",
            f"selct 1 /*gh:{tag()}*/;",
            f"begin \\; select 1 /*gh:{tag()}*/ \\; commit;",
            f"begin; select 1/0 /*gh:{tag()}*/; select 2 /*gh:{tag()}*/; rollback;",
            "set search_path = public;", "set application_name = 'renamed';", "reset application_name;",
            f"do $$ begin perform nested(1); end $$ /*gh:{tag()}*/;",
            "set statement_timeout = 100;", f"select pg_sleep(5) /*gh:{tag()}*/;", "reset statement_timeout;",
            f"select repeat('x', 100000) /*gh:{tag()}*/;", "listen a_channel;", "notify a_channel, 'payload';",
            f"select $tag$ it's ; not two -- statements $tag$ /* nested /* comment */ gh:{tag()}*/;",
            "select 1 as a, 2 as b \\gdesc",
            f"vacuum item; analyze item /*gh:{tag()}*/;",
        ]
        return "\n".join(one * rounds) + "\n"

    def pgbench(self, host, transactions):
        script = self.directory / f"pgbench-{self.tag()}.sql"
        script.write_text("\\set id random(1, 10)\n\\startpipeline\nselect name from item where id = :id;\n"
                          "insert into journal (entry) values ('pgbench ' || :id);\nselect :id + 1;\n\\endpipeline\n")
        common = [postgres.PGBENCH, "-n", "-c", "2", "-t", str(transactions)]
        for mode in ("simple", "extended", "prepared"):
            self.launch("pgbench", [*common, "-S", "-M", mode], host)
            self.launch("pgbench", [*common, "-M", mode], host)
        for mode in ("extended", "prepared"):
            self.launch("pgbench", [*common, "-M", mode, "-f", script], host)
        self.launch("pgbench", [postgres.PGBENCH, "-n", "-c", "3", "-j", "3", "-C", "-S", "-t", "10"], host)

    def drivers(self, host, rounds):
        for driver in ("psycopg2", "psycopg3"):
            self.launch("python", [PYTHON, CLIENTS / f"{driver}_client.py", self.tag(), str(rounds)], host)
        self.launch("pipeline", [self.programs.path("pipeline"), self.tag(), str(rounds * 2)], host)
        if self.environment.get("PGSSLMODE", "disable") == "disable":  # processes cannot share a TLS session
            self.launch("share_socket", [self.programs.path("share_socket"), self.tag(), str(rounds * 4)], host)
        if not host.startswith("/"):  # pgjdbc does not speak to Unix sockets
            # pgjdbc takes the database from the URL, where a blank would need escaping.
            user, database = next(self._who)
            address = f"[{host}]" if ":" in host else host
            url = f"jdbc:postgresql://{address}:{self.server.port}/{database.replace(' ', '%20')}"
            self.launch("java", ["/usr/bin/java", "-Xmx128m", "-cp", f"{self.programs.directory}:{JDBC_JAR}",
                                 "JdbcClient", url, user, self.tag(), str(rounds)], host, user, database)

    def failed_logins(self, host):
        """Sessions that the server refuses before the first statement."""
        self.launch("psql", [postgres.PSQL, "-X", "-c", "select 1"], host, "app", "no such database")
        self.launch("psql", [postgres.PSQL, "-X", "-c", "select 1"], host, "no such user", "shop")
        self.launch("psql", [postgres.PSQL, "-X", "-c", "select 1"], host, postgres.PASSWORD_USER, "shop",
                    {"PGPASSWORD": "wrong"})

    def passwords(self, host):
        self.launch("psql", [postgres.PSQL, "-X", "-q", "-c", f"select 1 /*gh:{self.tag()}*/"], host,
                    postgres.PASSWORD_USER, "shop", {"PGPASSWORD": PASSWORD})

    def replication(self, host):
        self.launch("psql", [postgres.PSQL, "-X", "-c", "IDENTIFY_SYSTEM", "-c", f"select 1 /*gh:{self.tag()}*/",
                             "dbname=shop replication=database user=app"], host, "app", "shop")


if __name__ == "__main__":
    sys.exit("a module of tests/e2e")
