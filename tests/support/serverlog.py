# SPDX-License-Identifier: Apache-2.0
"""What a PostgreSQL server says it ran: its JSON log under log_statement=all, read back as sessions and statements.

How the log maps to what went over the wire:

  log entry                                   | statement
  --------------------------------------------|---------------------------------------------------------------------
  LOG "statement: TEXT"                       | one Query message, with all its statements; logged after it parsed
  LOG "execute NAME[/PORTAL]: TEXT"           | one Execute of a portal from its start; DETAIL has the parameters
  LOG "execute fetch from NAME/PORTAL: TEXT"  | one further Execute of a suspended portal
  LOG "fastpath function call: ..."           | one FunctionCall message
  LOG "received replication command: TEXT"    | one Query message of a walsender that is not SQL
  ERROR + STATEMENT, same text as the last    | that last one failed
  ERROR + STATEMENT, otherwise                | one that failed before the server logs it: Query or Parse did not parse
                                              | (ps is "idle" or "PARSE"), or Bind refused its parameters ("BIND")

What the log cannot show, and is therefore never asked of it: an Execute of an empty statement (the server answers
EmptyQueryResponse before it logs), what a pipeline skips after an error (the server only discards it), row counts, and
the process behind a connection. SQL inside functions never crosses the wire; the server logs it only as CONTEXT.
"""

import dataclasses
import datetime
import json
import re

_EXECUTE = re.compile(r"execute (?P<fetch>fetch from )?(?P<name>[^:/]+?)(?:/(?P<portal>[^:]+?))?: (?P<text>.*)", re.S)
_REPLICATION = "received replication command: "
_SEVERITIES_OF_FAILURE = ("ERROR", "FATAL", "PANIC")


@dataclasses.dataclass
class LogStatement:
    line: int
    protocol: str  # simple, extended, function-call, replication
    text: str
    name: str = ""
    portal: str = ""
    is_fetch: bool = False
    parameters: list | None = None  # text, None for NULL; the list is None where the log does not tell
    sqlstate: str = ""
    failed_in: str = ""  # "parse" or "bind": it never ran
    at: float = 0.0  # Unix time of its first entry


@dataclasses.dataclass
class LogSession:
    pid: int
    session_id: str
    user: str = ""
    database: str = ""
    application: str = ""
    client: str = ""
    client_port: int = 0  # 0: a Unix socket
    is_authorized: bool = False
    is_closed: bool = False
    fatal_sqlstate: str = ""
    opened: float = 0.0  # Unix time of its first and last entry
    last_seen: float = 0.0
    statements: list = dataclasses.field(default_factory=list)

    @property
    def address(self):
        """The client's, as events have it."""
        return f"[{self.client}]:{self.client_port}" if ":" in self.client else f"{self.client}:{self.client_port}"


def parse_parameters(detail):
    """The values of a "Parameters: $1 = 'it''s', $2 = NULL" detail, in order."""
    values = []
    head = re.match(r"[Pp]arameters: ", detail)
    at = head.end()
    while at < len(detail):
        at = detail.index(" = ", at) + 3
        if detail.startswith("NULL", at):
            values.append(None)
            at += 4
        else:
            value = re.compile(r"'((?:[^']|'')*)'", re.S).match(detail, at)
            values.append(value[1].replace("''", "'"))
            at = value.end()
        at += 2  # ", "
    return values


def _unix_time(timestamp):
    day, clock, _ = timestamp.split(" ")
    return datetime.datetime.fromisoformat(f"{day}T{clock}+00:00").timestamp()


class ServerLog:
    """All client sessions of a log, by session id. Entries are self-contained, so order between sessions is free."""

    def __init__(self, text):
        self.sessions = {}
        for line in text.split("\n"):  # not splitlines(), which also splits at characters that SQL may hold
            if line.endswith("}"):  # the last line may still be being written
                self._entry(json.loads(line))

    def by_application(self, prefix):
        return [s for s in self.sessions.values() if s.application.startswith(prefix)]

    def statement_count(self):
        return sum(len(s.statements) for s in self.sessions.values())

    def _entry(self, entry):
        backend = entry.get("backend_type")
        if backend not in ("client backend", "walsender", "not initialized"):
            return
        session = self.sessions.setdefault(entry["session_id"], LogSession(entry["pid"], entry["session_id"]))
        session.last_seen = _unix_time(entry["timestamp"])
        session.opened = session.opened or session.last_seen
        session.user = entry.get("user", session.user)
        session.database = entry.get("dbname", session.database)
        # The name that the session was opened with: clients may change it later.
        session.application = session.application or entry.get("application_name", "")
        message, severity = entry.get("message", ""), entry["error_severity"]
        known = len(session.statements)
        if severity == "LOG":
            self._log_entry(session, entry, message)
        elif severity in _SEVERITIES_OF_FAILURE:
            self._failure(session, entry)
        for statement in session.statements[known:]:
            statement.at = session.last_seen

    @staticmethod
    def _log_entry(session, entry, message):
        line = entry["line_num"]
        if message.startswith("statement: "):
            session.statements.append(LogStatement(line, "simple", message[len("statement: "):]))
        elif match := _EXECUTE.fullmatch(message):
            detail = entry.get("detail", "")
            has_parameters = re.match(r"[Pp]arameters: ", detail)
            name = match["name"]
            session.statements.append(LogStatement(
                line, "extended", match["text"], name="" if name == "<unnamed>" else name,
                portal=match["portal"] or "", is_fetch=match["fetch"] is not None,
                parameters=parse_parameters(detail) if has_parameters else []))
        elif message.startswith("fastpath function call: "):
            session.statements.append(LogStatement(line, "function-call", message.partition(": ")[2]))
        elif message.startswith(_REPLICATION):
            session.statements.append(LogStatement(line, "replication", message[len(_REPLICATION):]))
        elif message.startswith("connection authorized: ") or message.startswith("replication connection authorized: "):
            session.is_authorized = True
            if claimed := re.search(r" application_name=(.*?)(?: SSL enabled \(.*\))?$", message):
                session.application = claimed[1]
        elif message.startswith("connection received: "):
            session.client = entry.get("remote_host", "")
            session.client_port = int(entry.get("remote_port") or 0)
        elif message.startswith("disconnection: "):
            session.is_closed = True

    @staticmethod
    def _failure(session, entry):
        sqlstate, text, ps = entry.get("state_code", ""), entry.get("statement"), entry.get("ps", "")
        if entry["error_severity"] != "ERROR":
            session.fatal_sqlstate = sqlstate
        if text is None:
            # Not about a statement's text: authentication, a walsender command, a FunctionCall, a lost connection.
            # The session's last statement failed if it had begun, which only those two log without a text.
            if session.statements and session.statements[-1].protocol in ("function-call", "replication"):
                session.statements[-1].sqlstate = sqlstate
            return
        last = session.statements[-1] if session.statements else None
        if ps.startswith("PARSE"):
            session.statements.append(LogStatement(entry["line_num"], "extended", text, sqlstate=sqlstate,
                                                   failed_in="parse"))
        elif ps.startswith("BIND"):
            session.statements.append(LogStatement(entry["line_num"], "extended", text, sqlstate=sqlstate,
                                                   failed_in="bind"))
        elif last is not None and last.text == text and not last.sqlstate:
            last.sqlstate = sqlstate
        else:
            session.statements.append(LogStatement(entry["line_num"], "simple", text, sqlstate=sqlstate,
                                                   failed_in="parse"))
