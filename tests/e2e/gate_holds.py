# SPDX-License-Identifier: Apache-2.0
"""Statements that wait for somebody's word. The server's own log says what has reached it, and how often."""

import contextlib
import itertools
import json
import re
import select
import signal
import subprocess
import time

from tests.e2e.context import require, require_verified
from tests.support import gatehouse, postgres, webhook_sink
from tests.support.oracle import field

RULES = """
rules:
  - id: hold-delete
    description: Deleting is agreed to by a DBA.
    on: statement
    when: |
      "delete" in statement.effects
    then: hold
    mode: active
    hold: {for: 60s, approvers: [dba], remind_every: 1s, unreachable_after: 3s}
  - id: hold-update
    description: Two agree to it.
    on: statement
    when: |
      "update" in statement.effects
    then: hold
    mode: active
    hold: {for: 60s, approvers: [dba], quorum: 2}
  - id: hold-truncate
    description: It must be decided soon.
    on: statement
    when: |
      "truncate" in statement.effects
    then: hold
    mode: active
    hold: {for: 2s, approvers: [dba]}
  - id: hold-insert
    description: Where nobody can be asked it goes on.
    on: statement
    when: |
      "insert" in statement.effects
    then: hold
    mode: active
    hold: {for: 60s, approvers: [dba], unreachable_after: 2s, when_unreachable: allow}
  - id: block-drop
    description: Never.
    on: statement
    when: |
      "drop" in statement.effects
    then: block
    mode: active
"""
REVIEWERS = """
approvals:
  reviewers:
    - {name: ada, groups: [dba]}
    - {name: grace, groups: [dba]}
    - {name: nemo, groups: [dba], logins: [nobody]}
    - {name: oncall, groups: [oncall]}
  break_glass: [oncall]
  webhooks:
    - {url: "http://127.0.0.1:%(port)d/json", secret_file: %(secret)s}
    - {url: "http://127.0.0.1:%(port)d/slack", secret_file: %(secret)s, format: slack, events: [asked]}
    - {url: "http://127.0.0.1:%(port)d/teams", secret_file: %(secret)s, format: teams, events: [decided]}
"""
SECRET = "a secret of sixteen bytes or more"
SETUP = """
create table guarded (id int, note text);
insert into guarded select g, 'x' from generate_series(1, 100) g;
create schema other;
create table other.guarded (id int, note text);
insert into other.guarded select g, 'x' from generate_series(1, 100) g;
"""
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
REFUSED = 4  # gatehouse's exit code

_marks = itertools.count(1)


class Client:
    """A session of the user nobody, in a process of its own."""

    def __init__(self, site, name):
        self.notices = []
        self.process = subprocess.Popen(
            [*NOBODY, "/usr/bin/python3", postgres.ROOT / "tests/support/hold_client.py", str(site.server.port),
             "127.0.0.1", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
            env={"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"})
        self._line(30)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()

    def start(self, *requests, answers=1):
        self.process.stdin.write(json.dumps({"send": requests, "answers": answers}) + "\n")
        self.process.stdin.flush()

    def result(self, seconds_max=30):
        """The messages that answer; notices on the way are kept apart."""
        while True:
            line = self._line(seconds_max)
            if "notice" not in line:
                return line["messages"]
            self.notices.append(line["notice"])

    def waits(self, seconds):
        """Whether nothing but notices comes for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.process.stdout], [], [], left)[0]:
                return True
            line = self._line(1)
            if "notice" not in line:
                return False
            self.notices.append(line["notice"])
        return True

    def ask(self, *requests, answers=1):
        self.start(*requests, answers=answers)
        return self.result()

    def _line(self, seconds_max):
        # What was read ahead is not in select()'s sight, so nothing is: lines are whole, and taken one by one.
        require(select.select([self.process.stdout], [], [], seconds_max)[0], f"no answer within {seconds_max} s")
        line = b""
        while not line.endswith(b"\n"):
            part = self.process.stdout.buffer.raw.read(1)
            require(part, "the client has ended")
            line += part
        return json.loads(line)


def error_of(messages):
    errors = [body for tag, body in messages if tag == "E"]
    return errors[0] if errors else {}


def tag_of(messages):
    return [body.rstrip("\0") for tag, body in messages if tag == "C"]


class Site:
    def __init__(self, context):
        self.context = context
        self.server = context.server(15)
        self.sink = webhook_sink.Sink(context.port(4), SECRET)
        rules = context.directory / "rules.yaml"
        rules.write_text(RULES)
        secret = context.directory / "secret"
        secret.write_text(SECRET + "\n")
        self.stack = context.stack(self.server, settings=f"rules:\n  files: [{rules}]\n")
        self.stack.agent.database_settings = "    mode: enforce\n    on_shim_failure: open\n"
        self.stack.collector.settings = REVIEWERS % {"port": context.port(4), "secret": secret}
        self.operators = context.directory / "operators"

    def __enter__(self):
        with contextlib.ExitStack() as opened:
            opened.enter_context(self.server)
            opened.enter_context(self.sink)
            self.server.psql("create database talk")
            self.server.psql(SETUP, database="talk")
            opened.enter_context(self.stack)
            for name in ("ada", "grace", "nemo", "oncall"):
                subprocess.run([gatehouse.COLLECTOR, "operator", name, "--folder", self.operators / name, "--config",
                                self.stack.collector.config], check=True, capture_output=True)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *exc):
        self._opened.close()

    def client(self, name="holds"):
        return Client(self, name)

    def cli(self, who, *arguments, code=0):
        credentials = self.stack.collector.state / "operator" if who == "admin" else self.operators / who
        done = subprocess.run([gatehouse.CLI, "approvals", *arguments, "--collector", self.stack.collector.address,
                               "--credentials", credentials], check=False, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60)
        require(done.returncode == code, f"approvals {' '.join(arguments)} by {who}: {done.returncode} for {code}\n"
                                         f"{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def list(self, *options, who="ada"):
        return [json.loads(line) for line in self.cli(who, "list", "--json", *options).splitlines()
                if line.startswith("{")]

    def request(self, mark, seconds_max=20):
        """The request of the statement with that mark."""
        until = time.monotonic() + seconds_max
        while True:
            found = [r for r in self.list() if mark in r["statement"]["text"] and r["state"] == "pending"]
            if found:
                require(len(found) == 1, f"{mark}: {len(found)} requests")
                return found[0]
            require(time.monotonic() < until, f"{mark}: no request within {seconds_max} s")
            time.sleep(0.2)

    def state(self, request):
        return next(r for r in self.list("--all", "--limit", "0") if r["id"] == request["id"])

    def wait_state(self, request, state, seconds_max=20):
        until = time.monotonic() + seconds_max
        while (now := self.state(request)["state"]) != state:
            require(time.monotonic() < until, f"request {request['id']} is {now}, not {state}")
            time.sleep(0.2)

    def wait_connected(self, seconds_max=40):
        """The agent is back at the collector."""
        until = time.monotonic() + seconds_max
        while not any(a["connected"] for a in self.stack.collector.agents() if a["id"] != "collector"):
            require(time.monotonic() < until, "the agent is not connected")
            time.sleep(0.2)

    def times_run(self, mark):
        """How often the server has got it: one line of its log for each."""
        text = self.server.log_text()
        return sum(mark in json.loads(line).get("message", "") and
                   re.match(r"(statement|execute)", json.loads(line)["message"]) is not None
                   for line in text.splitlines() if mark in line)

    def require_unseen(self, mark):
        require(mark not in self.server.log_text(), f"{mark} has reached the server")


def mark():
    return f"mark_{next(_marks)}_held"


def holds(context):
    """Asked, seen, decided, run once; denied, expired, cancelled, given up; bound to what was shown."""
    with Site(context) as site:
        for part in (_approved, _denied, _expired, _cancelled, _killed, _timed_out, _bound, _prepared, _pipeline,
                     _reviewers, _granted, _two_rules, _webhooks, _record, _collector_restarts, _unreachable,
                     _agent_restarts):
            print(f"    {part.__name__.strip('_')} …", flush=True)
            part(site)
        require(site.stack.agent.is_running, "the agent has ended")
        require_verified(site.stack)


def _approved(site):
    text = f"delete from guarded where id = 1 /*{mark()}*/"
    name = re.search(r"mark\w+", text)[0]
    psql = subprocess.Popen([*NOBODY, postgres.PSQL, "-XqAt", "-h", "127.0.0.1", "-p", str(site.server.port), "-U",
                             "postgres", "-d", "talk", "-c", text + " returning id"], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, cwd="/")
    request = site.request(name)
    # Another session does not feel it.
    with site.client("aside") as aside:
        slowest, until = 0.0, time.monotonic() + 3
        rounds = 0
        while time.monotonic() < until:
            began = time.monotonic()
            require(tag_of(aside.ask(["query", "select 1"])) == ["SELECT 1"], "a session aside")
            slowest = max(slowest, time.monotonic() - began)
            rounds += 1
        print(f"      aside: {rounds} statements, the slowest {slowest * 1000:.1f} ms", flush=True)
        require(slowest < 1.0, f"a session aside waited {slowest:.2f} s")
    require(psql.poll() is None, "psql does not wait")
    site.require_unseen(name)
    require(request["actor"]["user"] == "nobody" and request["actor"]["exe"].endswith("/psql"), request["actor"])
    require(request["statement"]["writes"] == ["guarded"], request["statement"])
    shown = site.cli("grace", "show", request["id"][:8])
    for words in ("hold-delete", text, "psql", "nobody", "dba", "approved", "guarded"):
        require(words in shown, f"show does not say {words}:\n{shown}")
    site.cli("admin", "approve", request["id"], "--reason", "x", code=REFUSED)
    site.cli("oncall", "approve", request["id"], "--reason", "x", code=REFUSED)
    site.cli("nemo", "approve", request["id"], "--reason", "x", code=REFUSED)
    site.cli("ada", "approve", request["id"], code=2)  # without a reason
    site.require_unseen(name)
    site.cli("ada", "approve", request["id"], "--reason", "as agreed")
    out, told = psql.communicate(timeout=20)
    require(out.strip() == "1" and psql.returncode == 0, f"psql: {psql.returncode} {out!r} {told!r}")
    require(told.startswith("NOTICE:") and request["id"] in told and "hold-delete" in told and "dba" in told, told)
    require(told.count("still waiting") >= 2, f"reminders: {told}")
    require(site.times_run(name) == 1, f"{name} has run {site.times_run(name)} times")
    site.wait_state(request, "executed")
    steps = [s["state"] for s in site.state(request)["steps"]]
    require(steps == ["asked", "seen", "decided", "executed"], steps)
    site.cli("grace", "deny", request["id"], "--reason", "late", code=REFUSED)
    site.first = request


def _denied(site):
    with site.client() as client:
        name = mark()
        require(client.ask(["query", "begin"])[-1] == ["Z", "T"], "begin")
        client.start(["query", f"delete from guarded /*{name}*/"])
        request = site.request(name)
        site.cli("ada", "deny", request["id"], "--reason", "use the staging database")
        messages = client.result()
        error = error_of(messages)
        require(error["C"] == "42501" and "denied by ada" in error["M"], error)
        require("use the staging database" in error["D"] and request["id"] in error["D"], error)
        require(messages[-1] == ["Z", "E"], f"the transaction is left as after an error: {messages}")
        require(client.ask(["query", "rollback"])[-1] == ["Z", "I"], "rollback")
        require(site.state(request)["state"] == "denied", site.state(request))
        site.require_unseen(name)


def _expired(site):
    with site.client() as client:
        name = mark()
        began = time.monotonic()
        error = error_of(client.ask(["query", f"truncate guarded /*{name}*/"]))
        took = time.monotonic() - began
        require(error["C"] == "42501" and "nobody decided within 2 s" in error["M"], error)
        require(1.5 < took < 6, f"expired after {took:.1f} s")
        require(tag_of(client.ask(["query", "select 1"])) == ["SELECT 1"], "the session goes on")
        site.require_unseen(name)
        require(any(r["state"] == "expired" and name in r["statement"]["text"]
                    for r in site.list("--all", "--limit", "0")), "not recorded as expired")


PQ_CANCEL = """
import sys, threading, time
import psycopg
connection = psycopg.connect(f"host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=talk", autocommit=True)
connection.add_notice_handler(lambda notice: (print("notice", notice.message_primary, flush=True)))
threading.Timer(2, connection.cancel).start()
try:
    connection.execute(sys.argv[2])
except psycopg.Error as error:
    print("error", error.sqlstate, error.diag.message_primary, flush=True)
print("after", connection.execute("select 7").fetchone()[0], flush=True)
"""


def _cancelled(site):
    name = mark()
    done = subprocess.run([*NOBODY, "/usr/bin/python3", "-c", PQ_CANCEL, str(site.server.port),
                           f"delete from guarded /*{name}*/"], check=False, capture_output=True, text=True, cwd="/",
                          timeout=60)
    lines = done.stdout.splitlines()
    require(lines[0].startswith("notice held by rule hold-delete"), done.stdout + done.stderr)
    require("error 57014 canceling statement due to user request" in lines, done.stdout + done.stderr)
    require(lines[-1] == "after 7", done.stdout)
    site.require_unseen(name)
    # Ctrl-C in psql.
    name = mark()
    psql = subprocess.Popen([*NOBODY, postgres.PSQL, "-XqAt", "-h", "127.0.0.1", "-p", str(site.server.port), "-U",
                             "postgres", "-d", "talk", "-c", f"delete from guarded /*{name}*/"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
    request = site.request(name)
    psql.send_signal(signal.SIGINT)
    _, told = psql.communicate(timeout=20)
    require("canceling statement due to user request" in told, told)
    site.wait_state(request, "cancelled")
    site.cli("ada", "approve", request["id"], "--reason", "late", code=REFUSED)
    site.require_unseen(name)


def _killed(site):
    name = mark()
    with site.client() as client:
        client.start(["query", f"delete from guarded /*{name}*/"])
        request = site.request(name)
    site.wait_state(request, "cancelled")
    site.cli("ada", "approve", request["id"], "--reason", "late", code=REFUSED)
    time.sleep(1)
    site.require_unseen(name)


def _timed_out(site):
    with site.client() as client:
        name = mark()
        client.ask(["query", "set statement_timeout = '1500ms'"])
        began = time.monotonic()
        error = error_of(client.ask(["query", f"delete from guarded /*{name}*/"]))
        require(error["C"] == "57014" and "statement timeout" in error["M"], error)
        require(1.2 < time.monotonic() - began < 5, "not after its time")
        require(tag_of(client.ask(["query", "select 1"])) == ["SELECT 1"], "the session goes on")
        site.require_unseen(name)


def _bound(site):
    """What was approved runs in the session that asked; nothing else does, however alike."""
    with site.client() as one, site.client() as two:
        name = mark()
        text = f"delete from guarded where id = $1::int /*{name}*/"
        one.start(["extended", text, ["10"]])
        request = site.request(name)
        two.start(["extended", text, ["10"]])
        until = time.monotonic() + 10
        while len(found := [r for r in site.list() if name in r["statement"]["text"]]) < 2:
            require(time.monotonic() < until, "the second session has not asked")
            time.sleep(0.2)
        second = next(r for r in found if r["id"] != request["id"])
        require(request["binding"] != second["binding"], "two sessions have one binding")
        require(request["statement"]["parameters"] == ["10"], request["statement"])
        site.cli("ada", "approve", request["id"], "--reason", "one")
        require(tag_of(one.result()) == ["DELETE 1"], "the first")
        require(two.waits(1.5), "the second was let go by the first's approval")
        require(site.times_run(name) == 1, f"run {site.times_run(name)} times")
        site.cli("ada", "deny", second["id"], "--reason", "two")
        require(error_of(two.result())["C"] == "42501", "the second")
        # The same text again, with the same parameter, another one, another search path: each is asked.
        seen = {request["binding"]}
        for change, value in (("select 1", "10"), ("select 1", "11"), ("set search_path = other", "10"),
                              ("set standard_conforming_strings = off", "10"), ("set role postgres", "10")):
            one.ask(["query", change])
            one.start(["extended", text, [value]])
            again = site.request(name)
            if change != "select 1" or value != "10":
                require(again["binding"] not in seen, f"{change}, {value}: the same binding")
            seen.add(again["binding"])
            site.cli("ada", "deny", again["id"], "--reason", "again")
            require(error_of(one.result())["C"] == "42501", change)
        require(site.times_run(name) == 1, f"run {site.times_run(name)} times")


def _prepared(site):
    """What is only prepared is not held; to execute it is, each time."""
    with site.client() as client:
        name = mark()
        messages = client.ask(["parse", f"delete from guarded where id = $1::int /*{name}*/", "d"], ["sync"])
        require([m[0] for m in messages] == ["1", "Z"], messages)
        for value, verb in (("20", "approve"), ("21", "deny"), ("22", "approve")):
            client.start(["bind", "d", "", [value]], ["execute"], ["sync"])
            request = site.request(name)
            require(request["statement"]["parameters"] == [value], request["statement"])
            site.cli("grace", verb, request["id"], "--reason", value)
            messages = client.result()
            require((tag_of(messages) == ["DELETE 1"]) == (verb == "approve"), f"{value}: {messages}")
        require(site.times_run(name) == 2, f"run {site.times_run(name)} times")
        # SQL's own PREPARE.
        name = mark()
        client.ask(["query", f"prepare p(int) as delete from guarded where id = $1 /*{name}*/"])
        client.start(["query", "execute p(23)"])
        until = time.monotonic() + 10
        while not (found := [r for r in site.list() if "execute p(23)" in r["statement"]["text"]]):
            require(time.monotonic() < until, "EXECUTE is not held")
            time.sleep(0.2)
        require(name in found[0]["statement"]["resolved"], found[0]["statement"])
        site.cli("ada", "approve", found[0]["id"], "--reason", "x", "--for", "1m", code=2)
        site.cli("ada", "approve", found[0]["id"], "--reason", "x")
        require(tag_of(client.result()) == ["DELETE 1"], "EXECUTE")


def _pipeline(site):
    """What follows in a pipeline waits; what came before is answered."""
    with site.client() as client:
        name = mark()
        client.start(["extended", "select 1"], ["extended", f"delete from guarded where id = 30 /*{name}*/"],
                     ["extended", f"select count(*) from guarded where id = 30 /*{name}*/"], answers=3)
        request = site.request(name)
        require(client.waits(1), "answered while it is held")
        site.require_unseen(name)
        site.cli("ada", "approve", request["id"], "--reason", "x")
        messages = client.result()
        require(tag_of(messages) == ["SELECT 1", "DELETE 1", "SELECT 1"], messages)
        require([body[-1] for tag, body in messages if tag == "D"][-1] == "0", messages)


def _reviewers(site):
    """A quorum; nobody twice, nobody for himself; the glass, and who looks at it afterwards."""
    with site.client() as client:
        name = mark()
        client.start(["query", f"update guarded set note = 'y' where id = 40 /*{name}*/"])
        request = site.request(name)
        said = site.cli("ada", "approve", request["id"], "--reason", "first")
        require("1 more must" in said, said)
        site.cli("ada", "approve", request["id"], "--reason", "again", code=REFUSED)
        said = site.cli("nemo", "approve", request["id"], "--reason", "mine", code=REFUSED)
        require("asks for himself" in said, said)
        require(client.waits(1), "one of two has let it go")
        site.cli("grace", "approve", request["id"], "--reason", "second")
        require(tag_of(client.result()) == ["UPDATE 1"], "with both")
        require(site.times_run(name) == 1, name)
        name = mark()
        client.start(["query", f"update guarded set note = 'z' where id = 41 /*{name}*/"])
        request = site.request(name)
        site.cli("ada", "approve", request["id"], "--reason", "x", "--break-glass", code=REFUSED)
        said = site.cli("oncall", "approve", request["id"], "--reason", "INC-12", "--break-glass")
        require("must be reviewed" in said, said)
        require(tag_of(client.result()) == ["UPDATE 1"], "the glass")
        require([r["needs_review"] for r in site.list() if r["id"] == request["id"]] == [True], "not listed")
        site.cli("oncall", "review", request["id"], "--reason", "mine", code=REFUSED)
        site.cli("ada", "review", request["id"], "--reason", "was right")
        require(not [r for r in site.list() if r["id"] == request["id"]], "listed after its review")


def _granted(site):
    """`--for` covers the text with other literals, for the process that was named, and nothing else."""
    with site.client() as one, site.client() as two:
        name = mark()
        one.start(["query", f"delete from guarded where id = 50 /*{name}*/"])
        request = site.request(name)
        said = site.cli("ada", "approve", request["id"], "--reason", "tonight", "--for", "1m")
        require("other literals" in said, said)
        require(tag_of(one.result()) == ["DELETE 1"], "approved")
        require(tag_of(one.ask(["query", f"delete from guarded where id = 51 /*{name}*/"])) == ["DELETE 1"], "covered")
        one.start(["query", f"delete from guarded where id = 52 and note = 'x' /*{name}*/"])
        other = site.request(name)
        site.cli("ada", "deny", other["id"], "--reason", "another text")
        require(error_of(one.result())["C"] == "42501", "another text")
        one.ask(["query", "set search_path = other, public"])
        one.start(["query", f"delete from guarded where id = 53 /*{name}*/"])
        other = site.request(name)
        site.cli("ada", "deny", other["id"], "--reason", "another table")
        require(error_of(one.result())["C"] == "42501", "another search path")
        two.start(["query", f"delete from guarded where id = 54 /*{name}*/"])
        other = site.request(name)
        site.cli("ada", "deny", other["id"], "--reason", "another process")
        require(error_of(two.result())["C"] == "42501", "another process")
        require(site.times_run(name) == 2, f"run {site.times_run(name)} times")


def _two_rules(site):
    """Two rules hold it: each is asked. A rule that blocks is not asked about."""
    with site.client() as client:
        name = mark()
        client.start(["query", f"with d as (delete from guarded where id = 60 returning 1) "
                               f"update guarded set note = 'w' where id = 61 /*{name}*/"])
        first = site.request(name)
        site.cli("ada", "approve", first["id"], "--reason", "x")
        until = time.monotonic() + 10
        while not (left := [r for r in site.list() if name in r["statement"]["text"] and r["id"] != first["id"]]):
            require(time.monotonic() < until, "the second rule does not ask")
            time.sleep(0.2)
        require({first["rule"], left[0]["rule"]} == {"hold-delete", "hold-update"}, [first["rule"], left[0]["rule"]])
        site.require_unseen(name)
        for who in ("ada", "grace"):
            site.cli(who, "approve", left[0]["id"], "--reason", "y")
        require(tag_of(client.result()) == ["UPDATE 1"], "both rules are content")
        require(site.times_run(name) == 1, name)
        error = error_of(client.ask(["query", "drop table guarded; delete from guarded"]))
        require(error["C"] == "42501" and "block-drop" in error["M"], error)


def _webhooks(site):
    """Signed, told again after a failure, and fit for whom they are for."""
    site.sink.fail_next = 2
    with site.client() as client:
        name = mark()
        client.start(["query", f"delete from guarded where id = 70 and note = 'secret words' /*{name}*/"])
        request = site.request(name)
        site.cli("ada", "deny", request["id"], "--reason", "no <b>& no")
        client.result()
    until = time.monotonic() + 30

    def came(path, event):
        return [b for p, h, b in site.sink.received if p == path and h["X-Gatehouse-Event"] == event and
                request["id"] in json.dumps(b)]
    while not (came("/json", "decided") and came("/slack", "asked") and came("/teams", "decided")):
        require(time.monotonic() < until, f"webhooks: {[p for p, _, _ in site.sink.received]}")
        time.sleep(0.2)
    require(site.sink.refused == 2 and site.sink.unsigned == 0, f"{site.sink.refused} {site.sink.unsigned}")
    decided = came("/json", "decided")[0]
    require(decided["verdict"] == "deny" and decided["reviewers"] == ["ada"], decided)
    require(len(came("/json", "asked")) == 1, "asked once")
    slack, teams = came("/slack", "asked")[0], came("/teams", "decided")[0]
    require(slack["blocks"][0]["type"] == "section" and slack["text"].startswith("Approval needed"), slack)
    require(teams["attachments"][0]["content"]["type"] == "AdaptiveCard", teams)
    require("secret words" not in json.dumps(site.sink.received), "a literal is in a message")


def _record(site):
    """Every step is in the ledger: as the agent saw it, and as the collector did."""
    until = time.monotonic() + 30
    wanted = {"asked", "seen", "approved", "executed"}
    while True:
        events = site.stack.collector.query(f'kind == "approval" && approval.id == "{site.first["id"]}"')
        by = {}
        for event in events:
            by.setdefault(field(event, "agent.id"), []).append(field(event, "approval.state"))
        if set(by.get("collector", [])) >= wanted and len(by) == 2 or time.monotonic() > until:
            break
        time.sleep(0.5)
    agent = next((states for source, states in by.items() if source != "collector"), [])
    require(agent == ["asked", "approved", "executed"], f"the agent's: {agent}")
    require(by.get("collector") == ["asked", "seen", "approved", "executed"], f"the collector's: {by}")
    decided = next(e for e in events if field(e, "approval.state") == "approved")
    require(field(decided, "approval.reviewer") == "ada" and field(decided, "approval.reason") == "as agreed", decided)
    asked = next(e for e in events if field(e, "agent.id") != "collector")
    require(field(asked, "actor.user") == "nobody" and field(asked, "session.gated") is True, asked)
    states = {field(e, "approval.state") for e in site.stack.collector.query('kind == "approval"')}
    require(states >= wanted | {"denied", "expired", "cancelled", "voted", "reviewed"}, states)
    held = site.stack.collector.query('verdict == "hold" && kind == "statement" && outcome == "ok"')
    require(held, "no statement is recorded as held and run")


def _collector_restarts(site):
    """Killed and back while one waits, and once more when it is decided: it runs once."""
    with site.client() as client, site.client() as other:
        name, second = mark(), mark()
        client.start(["query", f"delete from guarded where id = 80 /*{name}*/"])
        request = site.request(name)
        other.start(["query", f"update guarded set note = 'v' where id = 81 /*{second}*/"])
        quorum = site.request(second)
        site.cli("ada", "approve", quorum["id"], "--reason", "first")
        site.stack.collector.kill()
        require(client.waits(2) and other.waits(0.5), "answered without a collector")
        site.stack.collector.start()
        require(site.request(name)["id"] == request["id"], "another request")
        require(site.state(quorum)["approvals"] == 1, "a vote is lost")
        site.cli("grace", "approve", request["id"], "--reason", "after")
        site.cli("grace", "approve", quorum["id"], "--reason", "second")
        require(tag_of(client.result(60)) == ["DELETE 1"], "after the collector came back")
        require(tag_of(other.result(60)) == ["UPDATE 1"], "with the vote from before")
        for each in (name, second):
            require(site.times_run(each) == 1, f"run {site.times_run(each)} times")
        site.wait_state(request, "executed", 40)


def _unreachable(site):
    with site.client() as client, site.client() as other:
        site.stack.collector.kill()
        name, allowed = mark(), mark()
        began = time.monotonic()
        client.start(["query", f"delete from guarded where id = 90 /*{name}*/"])
        other.start(["query", f"insert into guarded values (1000, 'q') /*{allowed}*/"])
        require(tag_of(other.result()) == ["INSERT 0 1"], "when_unreachable: allow")
        error = error_of(client.result())
        require(error["C"] == "42501" and "cannot be reached" in error["M"], error)
        require(2.5 < time.monotonic() - began < 15, f"refused after {time.monotonic() - began:.1f} s")
        site.require_unseen(name)
        require(site.times_run(allowed) == 1, allowed)
        # One that comes back in time is asked.
        site.stack.collector.start()
        site.wait_connected()
        site.stack.collector.kill()
        name = mark()
        client.start(["query", f"update guarded set note = 'u' where id = 92 /*{name}*/"])
        site.stack.collector.start()
        request = site.request(name, 10)
        for who in ("ada", "grace"):
            site.cli(who, "approve", request["id"], "--reason", "back")
        require(tag_of(client.result(40)) == ["UPDATE 1"], "after it came back")


def _agent_restarts(site):
    with site.client() as client:
        name = mark()
        client.start(["query", f"delete from guarded where id = 95 /*{name}*/"])
        request = site.request(name, 40)
        site.stack.agent.kill()
        require(client.result(30)[-1][0] == "closed", "the session goes on without its shim")
        site.stack.agent.start().wait_ready()
        site.wait_state(request, "cancelled", 40)
        site.cli("ada", "approve", request["id"], "--reason", "late", code=REFUSED)
        site.require_unseen(name)
    with site.client() as client:
        name = mark()
        client.start(["query", f"delete from guarded where id = 96 /*{name}*/"])
        site.cli("ada", "approve", site.request(name)["id"], "--reason", "anew")
        require(tag_of(client.result()) == ["DELETE 1"], "after the agent was started again")
        require(site.times_run(name) == 1, name)
