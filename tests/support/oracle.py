# SPDX-License-Identifier: Apache-2.0
"""Compares what the agent recorded with what the server logged.

For every session of the log, its statements and the agent's statement events are paired by text in their order; each
pair must agree on user, database, prepared name, parameters, SQLSTATE and the process that wrote it. What has no
partner is missing (the log's) or duplicated or unexpected (the agent's). `serverlog` says what the log cannot show.
"""

import collections
import dataclasses
import re

TAG = re.compile(r"gh:(?P<tag>[\w.]+)(?: pid:(?P<pid>\d+))?\s*\*/")
# What may stand between the commands of a Query: blanks, semicolons, comments.
_BETWEEN = re.compile(r"(?:[\s;]|--[^\n]*|/\*.*?\*/)*", re.S)
_EXAMPLES_MAX = 5


def field(event, path, default=""):
    """`event`'s field by its dotted name; absent means not known."""
    for name in path.split("."):
        if not isinstance(event, dict) or name not in event:
            return default
        event = event[name]
    return event


@dataclasses.dataclass
class Verdict:
    """What disagreed, by kind, with a few examples of each."""
    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    examples: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    sessions: int = 0
    statements: int = 0
    matched: int = 0

    def wrong(self, kind, example):
        self.counts[kind] += 1
        if len(self.examples[kind]) < _EXAMPLES_MAX:
            self.examples[kind].append(example)

    @property
    def is_clean(self):
        return self.statements > 0 and not self.counts

    def __str__(self):
        kinds = ("missing", "duplicated", "unexpected", "wrong user", "wrong database", "wrong process")
        head = f"{self.statements} statements of {self.sessions} sessions: " + ", ".join(
            f"{self.counts[kind]} {kind}" for kind in kinds)
        other = [f"{count} {kind}" for kind, count in sorted(self.counts.items()) if kind not in kinds]
        lines = [head + "".join(", " + o for o in other)]
        lines += [f"  {kind}: {example}" for kind, examples in self.examples.items() for example in examples]
        return "\n".join(lines)


@dataclasses.dataclass
class Message:
    """The agent's events of one message of the client: one, or one for each command of a multi-statement Query."""
    head: dict
    texts: list
    sqlstate: str = ""

    @property
    def protocol(self):
        return field(self.head, "statement.protocol")

    def is_all_of(self, text):
        """Whether the commands, in order, are all that `text` holds."""
        at = 0
        for part in self.texts:
            found = text.find(part, at)
            if found < 0 or not _BETWEEN.fullmatch(text, at, found):
                return False
            at = found + len(part)
        return _BETWEEN.fullmatch(text, at) is not None


def messages(events):
    """Groups a session's statement events (oldest first), leaving out what the server's log cannot show: what it
    skipped in a pipeline. Commands of a Query that were not reached after an error are still part of its text."""
    result = []
    for event in events:
        is_command = field(event, "statement.protocol") == "simple"
        if field(event, "outcome") == "skipped" and not is_command:
            continue
        if not (is_command and field(event, "statement.index", 0) > 0 and result):
            result.append(Message(event, []))
        message = result[-1]
        message.texts.append(field(event, "statement.text"))
        message.sqlstate = message.sqlstate or field(event, "result.sqlstate")
    return result


def compare(log_sessions, events, executables, knowledge=()):
    """`executables`: PROGRAM of "gh:PROGRAM:PID" -> path. `knowledge`: what clients said of tagged statements."""
    verdict = Verdict()
    by_pid = collections.defaultdict(list)
    for event in sorted(events, key=_sequence):
        if field(event, "kind") == "statement":
            by_pid[field(event, "session.backend_pid", 0)].append(event)
    for event in by_pid.pop(0, []):
        verdict.wrong("without a session", _text(event))
    known_pids = collections.Counter(s.pid for s in log_sessions)
    for session in log_sessions:
        verdict.sessions += 1
        # Process numbers of backends come back only after tens of thousands of sessions; no test has as many.
        assert known_pids[session.pid] == 1, f"two sessions of process {session.pid}"
        _compare_session(verdict, session, messages(by_pid.pop(session.pid, [])), executables)
    for pid, rest in by_pid.items():
        verdict.wrong("unexpected", f"{len(rest)} events of server process {pid}, e.g. {_text(rest[0])}")
    _compare_knowledge(verdict, events, knowledge)
    return verdict


def _sequence(event):
    agent, boot, sequence = event["id"].rsplit("/", 2)
    return agent, boot, int(sequence)


def _text(event):
    return repr(field(event, "statement.text"))[:160]


def _compare_session(verdict, session, recorded, executables):
    waiting = _Waiting(recorded)
    last_sequence = 0
    for statement in session.statements:
        verdict.statements += 1
        where = f"{session.application} server process {session.pid} {statement.protocol} {statement.text[:160]!r}"
        message = waiting.take(statement)
        if message is None:
            verdict.wrong("missing", f"{where} sqlstate {statement.sqlstate or '-'}")
            continue
        verdict.matched += 1
        _compare_pair(verdict, session, statement, message, executables, where)
        sequence = _sequence(message.head)[2]
        if sequence < last_sequence:
            verdict.wrong("out of order", where)
        last_sequence = sequence
    for message in waiting.rest():
        again = any(_is_of(message, statement) for statement in session.statements)
        verdict.wrong("duplicated" if again else "unexpected",
                      f"{session.application} server process {session.pid} {message.protocol} {_text(message.head)} "
                      f"{field(message.head, 'id')} {field(message.head, 'outcome')}")


class _Waiting:
    """A session's messages that have no partner yet: by text, and those of several commands in a list."""

    def __init__(self, recorded):
        self.by_key = collections.defaultdict(collections.deque)
        self.several = []
        for message in recorded:
            if len(message.texts) > 1:
                self.several.append(message)
            else:
                self.by_key[_key(message.protocol, message.texts[0])].append(message)

    def take(self, statement):
        if found := self.by_key[_key(statement.protocol, statement.text)]:
            return found.popleft()
        for at, message in enumerate(self.several):
            if _is_of(message, statement):
                return self.several.pop(at)
        return None

    def rest(self):
        return [m for found in self.by_key.values() for m in found] + self.several


def _is_of(message, statement):
    if len(message.texts) == 1:
        return _key(message.protocol, message.texts[0]) == _key(statement.protocol, statement.text)
    return message.protocol == statement.protocol and message.is_all_of(statement.text)


def _key(protocol, text):
    # The log names a function by its name and OID, the wire by its OID alone.
    return (protocol, "" if protocol == "function-call" else text)


def _compare_pair(verdict, session, statement, message, executables, where):
    event = message.head
    if field(event, "session.user") != session.user:
        verdict.wrong("wrong user", f"{where}: {field(event, 'session.user')!r} for {session.user!r}")
    if field(event, "database.name") != session.database:
        verdict.wrong("wrong database", f"{where}: {field(event, 'database.name')!r} for {session.database!r}")
    # The servers of the tests are on this host, so the process at the other end is known.
    server = (field(event, "database.pid", 0), field(event, "database.exe").rpartition("/")[2])
    if server != (session.pid, "postgres"):
        verdict.wrong("wrong server process", f"{where}: {server}")
    if message.sqlstate != statement.sqlstate:
        verdict.wrong("wrong sqlstate", f"{where}: {message.sqlstate!r} for {statement.sqlstate!r}")
    if (field(event, "outcome") == "error") and not message.sqlstate:
        verdict.wrong("error without sqlstate", where)
    if statement.protocol == "extended" and not statement.failed_in:
        if field(event, "statement.name") != statement.name:
            verdict.wrong("wrong statement name", f"{where}: {field(event, 'statement.name')!r} for {statement.name!r}")
        _compare_parameters(verdict, statement, field(event, "statement.parameters", []), where)
    _compare_process(verdict, session, statement, event, executables, where)


def _compare_process(verdict, session, statement, event, executables, where):
    _, program, opener = session.application.split(":")
    tag = TAG.search(statement.text)
    writer = int(tag["pid"]) if tag and tag["pid"] else int(opener)
    got = (field(event, "actor.pid", 0), field(event, "actor.exe"))
    want = (writer, executables[program])
    if got != want:
        verdict.wrong("wrong process", f"{where}: {got} for {want}")
    if writer != int(opener) and field(event, "actor.opener_pid", 0) != int(opener):
        verdict.wrong("wrong opener", f"{where}: {field(event, 'actor.opener_pid', 0)} for {opener}")


def _compare_parameters(verdict, statement, values, where):
    """The log shows each value as the type prints it; the agent shows text as sent and binary as \\xHEX."""
    wanted = ["NULL" if value is None else value for value in statement.parameters]
    same = len(values) == len(wanted) and all(map(_same_value, values, wanted))
    if not same:
        verdict.wrong("wrong parameters", f"{where}: {values} for {wanted}")


def _same_value(value, wanted):
    if value == wanted:
        return True
    if not value.startswith("\\x"):
        return False
    raw = bytes.fromhex(value[2:])
    if re.fullmatch(r"-?\d+", wanted) and len(raw) in (2, 4, 8):
        return int.from_bytes(raw, "big", signed=True) == int(wanted)
    return raw == wanted.encode()


def _compare_knowledge(verdict, events, knowledge):
    """Rows and errors as the client saw them, by tag; one tag can stand for several executions of one text."""
    by_tag = collections.defaultdict(list)
    for event in sorted(events, key=_sequence):
        tag = TAG.search(field(event, "statement.text"))
        if tag and field(event, "kind") == "statement":
            by_tag[tag["tag"]].append(event)
    wanted = collections.defaultdict(list)
    for known in knowledge:
        wanted[known["tag"]].append(known)
    for tag, list_of_known in wanted.items():
        got = by_tag[tag]
        for known, event in zip(list_of_known, got):
            if known["sqlstate"] == "skipped":
                if field(event, "outcome") != "skipped":
                    verdict.wrong("wrong outcome", f"{tag}: {field(event, 'outcome')} for skipped")
            elif known["sqlstate"]:
                if field(event, "result.sqlstate") != known["sqlstate"]:
                    verdict.wrong("wrong sqlstate", f"{tag}: {field(event, 'result.sqlstate')!r} for {known}")
            elif known["rows"] >= 0 and field(event, "result.rows", 0) != known["rows"]:
                rows = field(event, "result.rows", 0)
                verdict.wrong("wrong rows", f"{tag}: {rows} for {known['rows']} {_text(event)}")
        if len(got) < len(list_of_known):
            verdict.wrong("missing", f"{tag}: the client ran it {len(list_of_known)} times, recorded {len(got)}")
