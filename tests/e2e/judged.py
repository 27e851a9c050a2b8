# SPDX-License-Identifier: Apache-2.0
"""Rules on live traffic: findings in the record, what would have been done, and another set without a restart."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time

from tests.e2e.context import require
from tests.support import gatehouse, postgres
from tests.support.oracle import field

RULES = """
rules:
  - id: unfiltered-write
    on: statement
    when: statement.verb in ["DELETE", "UPDATE"] && !statement.filters_rows && database.labels.env == "production"
    then: block
    mode: active
    severity: high
    message: Add a WHERE clause.
  - id: reads-customers
    on: statement
    when: |
      "customers" in statement.reads && actor.name == "psql"
    then: alert
    mode: active
  - id: file-access
    on: statement
    when: |
      "file-read" in statement.effects
    then: terminate
    mode: dry-run
    severity: critical
  - id: not-yet
    on: statement
    when: "true"
    then: block
    mode: draft
  - id: shell-login
    on: connect
    when: session.user == "postgres" && actor.ancestry.exists(p, p.contains("python"))
    then: alert
    mode: active
    severity: low
  - id: failed
    on: statement
    when: result.sqlstate == "42P01"
    then: alert
    mode: active
    severity: info
  - id: agent-reads
    on: statement
    when: actor.agent == "claude" && actor.agent_kind == "coding-agent"
    then: alert
    mode: active
    severity: info
"""

# SQL and the rules that it breaks, with the verdict that the record must say.
STATEMENTS = (
    ("DELETE FROM customers", ["unfiltered-write"], "would block"),
    ("DELETE FROM customers WHERE 1 = 1", ["unfiltered-write"], "would block"),
    ("DELETE FROM customers WHERE id = 0", ["reads-customers"], "alert"),
    ("SELECT email FROM customers WHERE id = 1", ["reads-customers"], "alert"),
    ("WITH c AS (SELECT * FROM customers) SELECT count(*) FROM c", ["reads-customers"], "alert"),
    ("PREPARE p AS SELECT * FROM customers", [], ""),
    ("EXECUTE p", ["reads-customers"], "alert"),
    ("SELECT pg_read_file('PG_VERSION')", ["file-access"], "would terminate"),
    ("SELECT * FROM nowhere", ["failed"], "alert"),
    ("SELECT 1", [], ""),
)


def rules(context):
    directory = context.directory / "rules"
    directory.mkdir()
    (directory / "all.yaml").write_text(RULES)
    with context.server() as server:
        server.psql("CREATE TABLE customers (id int, email text)")
        stack = context.stack(server, settings=f"rules:\n  files: [{directory}]\n")
        stack.agent.database_settings = "    labels: {env: production}\n"
        with stack:
            _judges(stack, server)
            _knows_agents(stack, server, context.directory)
            _backtests(stack, directory)
            _reloads(stack, server, directory / "all.yaml")


MEMORY_RULES = """
rules:
  - id: three-deletes
    on: statement
    when: |
      "delete" in statement.effects
    window: {count: "true", over: 1h, by: [session.user], at_least: 3}
    then: alert
    mode: active
  - id: not-watched
    on: gap
    when: gap.reason in ["agent-stopped", "agent-killed"]
    then: alert
    mode: active
    message: "{agent.host}: {gap.reason}"
"""


def rules_remember(context):
    """What a rule has counted outlives the agent; that it was away is an event that rules are asked of."""
    rules_file = context.directory / "rules.yaml"
    rules_file.write_text(MEMORY_RULES)
    with context.server() as server:
        server.psql("CREATE TABLE t (id int)")
        with context.stack(server, settings=f"rules:\n  files: [{rules_file}]\n") as stack:
            _expect(stack, server, "two", (("DELETE FROM t", []), ("DELETE FROM t WHERE id = 1", [])))
            require(stack.agent.stop() == 0, f"the agent ended badly:\n{stack.agent.tail()}")
            stack.agent.start().wait_ready()
            _expect(stack, server, "third", (("DELETE FROM t", ["three-deletes"]),))
            stack.agent.kill()
            stack.agent.start().wait_ready()
            for reason in ("agent-stopped", "agent-killed"):
                gaps = _query_until(stack, f'"not-watched" in findings && detail.startsWith("{reason}")')
                require(len(gaps) == 1 and field(gaps[0], "finding.messages")[0].endswith(reason), f"{reason}: {gaps}")


CATALOG_RULES = """
rules:
  - id: writes-customers
    on: statement
    when: |
      "customers" in statement.writes
    then: block
    mode: active
  - id: unknown-effects
    on: statement
    when: |
      "unknown" in statement.effects
    then: alert
    mode: active
"""


def rules_with_catalog(context):
    """What a function, a view or a trigger does is what is judged; what was made a moment ago, too."""
    rules_file = context.directory / "rules.yaml"
    rules_file.write_text(CATALOG_RULES)
    with context.server() as server:
        server.psql("CREATE TABLE customers (id int, email text);"
                    "CREATE FUNCTION purge() RETURNS void LANGUAGE plpgsql AS 'begin delete from customers; end';"
                    "CREATE VIEW v AS SELECT * FROM customers;")
        stack = context.stack(server, settings=f"rules:\n  files: [{rules_file}]\n")
        stack.agent.database_settings = (f"    catalog:\n      connection: host={server.socket_dir} "
                                         f"port={server.port} user=postgres\n      databases: [postgres]\n")
        with stack:
            stack.agent.wait_until(lambda: counter(stack, "catalogs_loaded") == 1, "catalog", 90)
            _expect(stack, server, "before", (
                ("SELECT purge()", ["writes-customers"]),
                ("DELETE FROM v", ["writes-customers"]),
                ("SELECT * FROM v", []),
                ("SELECT no_such_function()", ["unknown-effects"]),
            ))
            server.psql("CREATE FUNCTION late() RETURNS void LANGUAGE sql AS 'truncate customers'")
            deadline = time.monotonic() + 60
            for attempt in range(1000):
                _run(server, ["SELECT late()"], f"late-{attempt}")
                found = field(_statement(stack, f"late-{attempt}"), "findings", [])
                if found == ["writes-customers"] or time.monotonic() > deadline:
                    break
            require(found == ["writes-customers"], f"what was made later: {found}")
            own = stack.collector.query('session.application == "gatehouse-agent catalog" && kind == "statement"')
            require(own and not any(field(e, "findings", []) for e in own), "the agent's own statements were judged")


def counter(stack, name):
    done = subprocess.run([gatehouse.AGENT, "doctor", "--json", "--config", stack.agent.config], check=False,
                          capture_output=True, text=True)
    return json.loads(done.stdout).get("agent", {}).get("counters", {}).get(name)


def _expect(stack, server, mark, cases):
    _run(server, [sql for sql, _ in cases], mark)
    events = [e for e in _events(stack, mark, len(cases)) if e["kind"] == "statement"]
    found = {field(e, "statement.text").rstrip(";"): field(e, "findings", []) for e in events}
    for sql, findings in cases:
        require(found.get(sql) == findings, f"{sql}: {found.get(sql)}")


def _run(server, statements, mark):
    """One session, whose name marks its events."""
    script = "\n".join(f"{sql};" for sql in statements)
    server.psql_script(script, env={**os.environ, "PGAPPNAME": mark})


def _events(stack, mark, count):
    deadline = time.monotonic() + 30
    while True:
        events = stack.collector.query(f'session.application == "{mark}"')
        if sum(e["kind"] == "statement" for e in events) >= count or time.monotonic() > deadline:
            return events
        time.sleep(0.3)


def _query_until(stack, condition):
    deadline = time.monotonic() + 30
    while True:
        events = stack.collector.query(condition)
        if events or time.monotonic() > deadline:
            return events
        time.sleep(0.3)


def _knows_agents(stack, server, directory):
    """An agent is told by its program among the ancestors, in what rules see and in the record."""
    agent = directory / "claude"
    shutil.copy("/bin/bash", agent)
    client = shlex.join([str(postgres.PSQL), "-X", "-q", "-h", str(server.socket_dir), "-p", str(server.port), "-U",
                         "postgres", "-d", "postgres", "-c", "SELECT 2"])
    for program, mark in ((agent, "by-agent"), ("/bin/bash", "by-shell")):
        # Not its last command, which a shell becomes instead of starting it.
        subprocess.run([program, "-c", f"{client}; true"], check=True, capture_output=True,
                       env={**os.environ, "PGAPPNAME": mark})
    event = _statement(stack, "by-agent")
    require(field(event, "findings", []) == ["agent-reads"], f"an agent's statement: {field(event, 'findings', [])}")
    require(field(event, "actor.agent") == "claude" and field(event, "actor.agent_kind") == "coding-agent",
            f"in the record: {event['actor']}")
    event = _statement(stack, "by-shell")
    require(not field(event, "findings", []) and not field(event, "actor.agent", ""), f"a shell's: {event['actor']}")


def _statement(stack, mark):
    """The one statement of that session."""
    return next(e for e in _events(stack, mark, 1) if e["kind"] == "statement")


def _judges(stack, server):
    _run(server, [sql for sql, _, _ in STATEMENTS], "judged")
    events = _events(stack, "judged", len(STATEMENTS))
    found = {field(e, "statement.text").rstrip(";"): e for e in events if e["kind"] == "statement"}
    for sql, findings, verdict in STATEMENTS:
        event = found.get(sql)
        require(event is not None, f"not in the record: {sql}")
        require(field(event, "findings", []) == findings and field(event, "verdict", "") == verdict,
                f"{sql}: {field(event, 'findings', [])} {field(event, 'verdict', '')}")
        require(len(field(event, "policy", "")) == 64, f"{sql}: no policy in its event")
    deleted = found["DELETE FROM customers"]
    require(field(deleted, "statement.effects") == ["delete"] and field(deleted, "statement.writes") == ["customers"],
            f"facts of DELETE: {deleted['statement']}")
    require(field(deleted, "severity") == "high" and field(deleted, "finding.messages") == ["Add a WHERE clause."],
            f"finding of DELETE: {deleted}")
    require("database" in deleted and field(deleted, "database.labels") == ["env=production"], "labels are missing")
    require(field(found["EXECUTE p"], "statement.reads") == ["customers"], "what EXECUTE runs is not in its facts")
    prints = {field(found[sql], "statement.fingerprint") for sql, _, _ in STATEMENTS[:3]}
    require(len(prints) == 3, f"fingerprints of three texts: {prints}")
    connect = [e for e in events if e["kind"] == "connect"]
    require(connect and field(connect[0], "findings", []) == ["shell-login"], f"connect: {connect}")
    # What rules found can be asked for.
    blocked = stack.collector.query('verdict == "would block" && session.application == "judged"')
    require(len(blocked) == 2, f"{len(blocked)} events would have been blocked")


def _backtests(stack, directory):
    """What the record is judged to be is what the agent found; a draft, and a rule that is gone, differ."""
    lines = {line["rule"]: line for line in _backtest(stack, directory)}
    require(lines["not-yet"]["new"] >= len(STATEMENTS), f"a draft: {lines['not-yet']}")
    for rule, line in lines.items():
        if rule != "not-yet":
            require(line["events"] > 0 and line["new"] == line["gone"] == 0, f"backtest of {rule}: {line}")
    other = directory.parent / "other.yaml"
    other.write_text(RULES.replace("- id: reads-customers", "- id: renamed").replace('"customers" in', '"cust" in'))
    lines = {line["rule"]: line for line in _backtest(stack, other)}
    require(lines["reads-customers"]["gone"] > 0 and lines["reads-customers"]["action"] == "", "a rule that is gone")
    require(lines["renamed"]["events"] == 0, "a rule that finds nothing")


def _backtest(stack, path):
    done = stack.collector.cli("rules", "backtest", path, "--since", "1d")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _policy(stack):
    agents = stack.collector.agents()
    return agents[0].get("policy", "")


def _reloads(stack, server, path):
    """Another set judges from its event on; a set with an error changes nothing, and is said."""
    before = _policy(stack)
    path.write_text(RULES.replace("statement.filters_rows", "statement.filters_rowz"))
    os.kill(stack.agent.process.pid, signal.SIGHUP)
    stack.agent.wait_until(lambda: stack.agent.says("did you mean `filters_rows`"), "word of the bad rules")
    _run(server, ["DELETE FROM customers"], "still")
    event = _statement(stack, "still")
    require(field(event, "findings", []) == ["unfiltered-write"], "a bad set has replaced a good one")

    path.write_text(RULES.replace("then: block", "then: hold"))
    os.kill(stack.agent.process.pid, signal.SIGHUP)
    stack.agent.wait_until(lambda: _policy(stack) not in ("", before), "another policy", 30)
    _run(server, ["DELETE FROM customers"], "held")
    event = _statement(stack, "held")
    require(field(event, "verdict") == "would hold", f"after the reload: {field(event, 'verdict')}")
    require(field(event, "policy") == _policy(stack), "the event's policy is not the agent's")
