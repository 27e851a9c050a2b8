# SPDX-License-Identifier: Apache-2.0
"""The oracle against a small log (captured from PostgreSQL 15 and 18, shortened) and events made to fit it."""

import copy
import json
import unittest

from tests.support import losses, oracle, serverlog

EXECUTABLES = {"psql": "/usr/bin/psql"}


def entry(line, severity, message, **more):
    return json.dumps({"timestamp": f"2026-01-02 03:04:{line:02d}.000 UTC", "user": "app", "dbname": "shop", "pid": 70,
                       "session_id": "s.70", "line_num": line, "error_severity": severity, "message": message,
                       "application_name": "gh:psql:7", "backend_type": "client backend", "ps": "SELECT", **more})


LOG = "\n".join([
    entry(1, "LOG", "connection received: host=127.0.0.1 port=5", remote_host="127.0.0.1"),
    entry(2, "LOG", "connection authorized: user=app database=shop application_name=gh:psql:7"),
    entry(3, "LOG", "statement: select 1 /*gh:a.1*/; select 2"),
    entry(4, "LOG", "statement: select 1/0"),
    entry(5, "ERROR", "division by zero", state_code="22012", statement="select 1/0"),
    entry(6, "ERROR", "syntax error", state_code="42601", statement="selct 1", ps="idle"),
    entry(7, "LOG", "execute S_1/C_2: select $1, $2", detail="parameters: $1 = 'it''s', $2 = NULL"),
    entry(8, "LOG", "execute fetch from S_1/C_2: select $1, $2", detail="Parameters: $1 = 'it''s', $2 = NULL"),
    entry(9, "ERROR", "bad number", state_code="22P02", statement="select $1::int", ps="BIND"),
    entry(10, "LOG", 'fastpath function call: "lo_open" (OID 952)'),
    entry(11, "LOG", "disconnection: session time: 0:00:01"),
    entry(12, "LOG", "statement: not a client's", backend_type="autovacuum worker"),
    '{"timestamp": "2026-01-02 03:04:05.000 UTC", "cut',
])


def event(sequence, protocol, text, sqlstate="", parameters=None, index=0, name="", outcome=None):
    return {"id": f"agent/boot/{sequence}", "kind": "statement", "outcome": outcome or ("error" if sqlstate else "ok"),
            "session": {"user": "app", "backend_pid": 70},
            "database": {"name": "shop", "pid": 70, "exe": "/usr/lib/postgresql/15/bin/postgres"},
            "actor": {"pid": 7, "exe": "/usr/bin/psql"},
            "statement": {"protocol": protocol, "text": text, "index": index, "name": name,
                          "parameters": parameters or []},
            "result": {"sqlstate": sqlstate, "rows": 1}}


EVENTS = [
    event(3, "simple", "select 1 /*gh:a.1*/"),
    event(4, "simple", "select 2", index=1, outcome="skipped"),
    event(5, "simple", "select 1/0", "22012"),
    event(6, "simple", "selct 1", "42601"),
    event(7, "extended", "select $1, $2", parameters=["it's", "NULL"], name="S_1", outcome="suspended"),
    event(8, "extended", "select $1, $2", parameters=["it's", "NULL"], name="S_1"),
    event(9, "extended", "select $1::int", "22P02"),
    event(10, "extended", "select 3", outcome="skipped"),
    event(11, "function-call", ""),
]


class ServerLogTest(unittest.TestCase):
    def test_reads_what_ran(self):
        (session,) = serverlog.ServerLog(LOG).sessions.values()
        self.assertEqual([(s.protocol, s.sqlstate, s.failed_in, s.is_fetch) for s in session.statements],
                         [("simple", "", "", False), ("simple", "22012", "", False),
                          ("simple", "42601", "parse", False),
                          ("extended", "", "", False), ("extended", "", "", True), ("extended", "22P02", "bind", False),
                          ("function-call", "", "", False)])
        self.assertEqual(session.statements[3].parameters, ["it's", None])
        self.assertEqual((session.statements[3].name, session.statements[3].portal), ("S_1", "C_2"))
        self.assertTrue(session.is_authorized and session.is_closed)


class OracleTest(unittest.TestCase):
    def judge(self, events, knowledge=()):
        return oracle.compare(list(serverlog.ServerLog(LOG).sessions.values()), events, EXECUTABLES, knowledge)

    def changed(self, change):
        events = copy.deepcopy(EVENTS)
        change(events)
        return self.judge(events).counts

    def test_agrees(self):
        verdict = self.judge(EVENTS, [{"tag": "a.1", "rows": 1, "sqlstate": ""}])
        self.assertTrue(verdict.is_clean, str(verdict))
        self.assertEqual((verdict.statements, verdict.matched), (7, 7))

    def test_nothing_is_not_clean(self):
        self.assertFalse(oracle.compare([], [], EXECUTABLES).is_clean)

    def test_finds_each_fault(self):
        faults = {
            "missing": lambda e: e.pop(2),
            # One command of a Query of two.
            "unexpected": lambda e: e.pop(1),
            "duplicated": lambda e: e.append({**e[2], "id": "agent/boot/99"}),
            "without a partner": lambda e: e.append(event(99, "simple", "select 'never sent'")),
            "without a session": lambda e: e[2]["session"].pop("backend_pid"),
            "wrong user": lambda e: e[2]["session"].update(user="x"),
            "wrong database": lambda e: e[2]["database"].update(name="x"),
            "wrong server process": lambda e: e[2]["database"].update(pid=71),
            "wrong process": lambda e: e[2]["actor"].update(exe="/usr/bin/other"),
            "wrong sqlstate": lambda e: e[2]["result"].update(sqlstate="22000"),
            "wrong parameters": lambda e: e[4]["statement"].update(parameters=["its", "NULL"]),
            "wrong statement name": lambda e: e[4]["statement"].update(name="S_2"),
            "out of order": lambda e: e[2].update(id="agent/boot/98"),
        }
        kinds = {"without a partner": "unexpected"}
        for kind, change in faults.items():
            with self.subTest(kind):
                self.assertGreaterEqual(self.changed(change)[kinds.get(kind, kind)], 1)

    def test_binary_parameters(self):
        self.assertTrue(oracle._same_value("\\x00000007", "7"))
        self.assertTrue(oracle._same_value("\\xffffffffffffffff", "-1"))
        self.assertFalse(oracle._same_value("\\x00000008", "7"))
        self.assertTrue(oracle._same_value("\\x6869", "hi"))

    def test_rows_that_the_client_knows(self):
        verdict = self.judge(EVENTS, [{"tag": "a.1", "rows": 2, "sqlstate": ""}])
        self.assertEqual(verdict.counts["wrong rows"], 1)


def lossless(session, second, text):
    """The events of a session of [::1]:5 that sent a startup packet of 80 bytes, `text` and Terminate."""
    common = {"id": "agent/boot/1", "time": f"2026-01-02T03:04:{second:02d}.5Z",
              "session": {"id": session, "client": "[::1]:5"}}
    request = 80 + len(text) + 6 + 5
    return [{**common, "kind": "statement", "fidelity": "complete", "statement": {"text": text}},
            {**common, "kind": "disconnect", "request": {"bytes": request}, "result": {"bytes": 9},
             "coverage": {"verdict": "full", "decoded_bytes": request + 9}}]


class LossesTest(unittest.TestCase):
    def judge(self, *events):
        sessions = [serverlog.LogSession(70 + at, f"s.{at}", client="::1", client_port=5, opened=float(at),
                                         statements=[serverlog.LogStatement(1, "simple", f"select {at}")])
                    for at in range(2)]
        return losses.compare(sessions, [e for found in events for e in found])

    def test_a_port_that_is_used_again(self):
        first, second = lossless("b", 3, "select 0"), lossless("a", 5, "select 1")
        self.assertTrue(self.judge(first, second).is_clean)
        self.assertTrue(self.judge(second, first).is_clean)
        self.assertEqual(self.judge(second).counts["sessions not told of"], 2)
        self.assertEqual(self.judge(first, second, lossless("c", 6, "select 2")).counts["sessions not told of"], 2)
        swapped = self.judge(lossless("b", 3, "select 1"), lossless("a", 5, "select 0")).counts
        self.assertEqual((swapped["missing"], swapped["unexpected"]), (2, 2))


if __name__ == "__main__":
    unittest.main()
