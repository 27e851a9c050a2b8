# SPDX-License-Identifier: Apache-2.0
"""The oracle of outages: each statement of the server's log is recorded once, or overlaps a time of which an agent says
that it did not watch, or stands where its session has a gap.

No text may repeat within a session, parameters included. Sessions are told apart by their server process.
"""

import bisect
import collections
import dataclasses
import datetime

from tests.support import oracle
from tests.support.oracle import field

# The server's log has milliseconds, cut off.
_LOG_SECONDS = 0.001
# A process number comes back only after tens of thousands of others; until then who had it first still has it.
_REUSE_SECONDS_MIN = 0.5
# What was on its way when server or client died: it may never have reached the log.
_UNANSWERED = ("aborted", "unknown", "skipped")
_CLIENT_LOST = "08006"
_SHUTDOWN_SQLSTATES = ("57P01", "57P02", "57P03")


@dataclasses.dataclass
class Span:
    boot: str
    since: float
    until: float
    is_kill: bool


def spans(events):
    """The times that the agents declare as not watched, in order."""
    found = []
    for event in events:
        words = field(event, "detail").split()
        if event["kind"] != "gap" or not words or words[0] not in ("agent-killed", "agent-stopped"):
            continue
        told = dict(word.split("=", 1) for word in words[1:])
        found.append(Span(event["id"].rpartition("/")[0], unix(told.get("since", "")), unix(told["until"]),
                          words[0] == "agent-killed"))
    return sorted(found, key=lambda span: span.since)


def summary(told, declared):
    times = sum(s.until - s.since for s in declared)
    return (f"{told['not seen']} not seen within {len(declared)} declared times of {times:.1f} s, {told['in gaps']} in "
            f"gaps, {told['unanswered']} unanswered, {told['of dead clients']} of dead clients, "
            f"{told['of unknown text']} of unknown text")


def unix(text):
    """Seconds since 1970 of an event's time; 0 of none."""
    # Python's has six digits behind the point.
    return datetime.datetime.fromisoformat(text.rstrip("Z")[:26] + "+00:00").timestamp() if text else 0.0


def compare(sessions, events, executables, declared):
    """The verdict; `counts_of` has how many statements were not seen within declared times, and unanswered."""
    verdict = oracle.Verdict()
    told = collections.Counter()
    by_session = _by_session(sessions, (e for e in events if e["kind"] == "statement"))
    gaps = _by_session(sessions, (e for e in events if e["kind"] == "gap" and field(e, "session.id") and
                                  not field(e, "detail").startswith("opened-before-watching")))
    for event in by_session.pop("", []):
        verdict.wrong("without a session", f"{event['id']} {field(event, 'statement.text')[:80]!r}")
    for session in sessions:
        verdict.sessions += 1
        recorded = collections.defaultdict(list)
        for event in by_session.get(session.session_id, []):
            recorded[_key_of_event(event)].append(event)
        _compare_session(verdict, told, session, recorded, gaps.get(session.session_id, []), executables, declared)
    return verdict, told


def _by_session(sessions, statements):
    """The log's session of each event, by server process and time; "" for what has none.

    A TCP session that the server had not accepted when the watching began, or not when it ended, has no server process:
    it is found by its client's port. A Unix session that was accepted meanwhile may have the listener for its server
    process: it is found by its client and its statement.
    """
    of_pid, of_port = collections.defaultdict(list), collections.defaultdict(list)
    of_statement = {(s.application, _key_of_log(t)): s for s in sessions for t in s.statements}
    for session in sorted(sessions, key=lambda s: s.opened):
        of_pid[session.pid].append(session)
        of_port[session.address].append(session)
    found = collections.defaultdict(list)
    for event in statements:
        at = unix(event["time"])
        pid = field(event, "database.pid", 0) or field(event, "session.backend_pid", 0)
        owner = _owner(of_pid[pid], at)
        if owner is None and (not pid or field(event, "fidelity") == "joined-mid-stream"):
            owner = _owner(of_port[field(event, "session.client")], at)
        if owner is None and field(event, "session.transport") == "unix":
            owner = of_statement.get((field(event, "session.application"), _key_of_event(event)))
        found[owner.session_id if owner else ""].append(event)
    return found


def _owner(sessions, moment):
    at = bisect.bisect([s.opened for s in sessions], moment + _REUSE_SECONDS_MIN)
    return sessions[at - 1] if at > 0 else None


def _compare_session(verdict, told, session, recorded, gaps, executables, declared):
    before, missing = None, []  # the last one that was recorded, and those since
    ends = [s.at for s in session.statements[1:]] + [session.last_seen]
    for statement, end in zip(session.statements, ends):
        verdict.statements += 1
        where = f"{session.application} server process {session.pid} at {statement.at:.3f} {statement.text[:80]!r}"
        found = recorded.pop(_key_of_log(statement), [])
        # Of what was prepared before the watching began only the name is known.
        found += recorded.pop(_key_of_log(statement, text=statement.name), [])
        if statement.failed_in and not found:
            found = _take_failed(recorded, statement)
        if len(found) > 1:
            verdict.wrong("duplicated", f"{where}: {[e['id'] for e in found]}")
        if found:
            verdict.matched += 1
            _settle_missing(verdict, told, missing, before, found[0], gaps)
            before = found[0]
            is_at_start = any(s.since <= statement.at <= s.until for s in declared)
            _compare_pair(verdict, session, statement, found[0], executables, where, is_at_start)
        elif session.fatal_sqlstate == _CLIENT_LOST and statement is session.statements[-1]:
            told["of dead clients"] += 1  # a Unix session's end is seen by reading, and such a server reads no more
        elif any(statement.at <= s.until and end + _LOG_SECONDS >= s.since for s in declared):
            told["not seen"] += 1
        else:
            missing.append(f"{where} to {end:.3f}")
    _settle_missing(verdict, told, missing, before, None, gaps)
    for rest in recorded.values():
        for event in rest:
            if event["fidelity"] == "after-gap" and not field(event, "statement.text"):
                told["of unknown text"] += 1  # one of those that are missing
            elif field(event, "outcome") in _UNANSWERED or field(event, "result.sqlstate") in _SHUTDOWN_SQLSTATES:
                told["unanswered"] += 1
            else:
                verdict.wrong("unexpected", f"{session.application} server process {session.pid} {event['id']} "
                                            f"{field(event, 'outcome')} {field(event, 'statement.text')[:80]!r}")


def _take_failed(recorded, statement):
    """The log has no parameters of what failed before it ran; what followed it in the pipeline was skipped."""
    for key in [k for k in recorded if k[:2] == (statement.protocol, statement.text)]:
        found = [e for e in recorded[key] if field(e, "outcome") == "error"]
        if found:
            recorded[key] = [e for e in recorded[key] if e not in found]
            return found[:1]
    return []


def _settle_missing(verdict, told, missing, before, after, gaps):
    """What is missing between two recorded statements of a session is owned by a gap that was told between them."""
    is_owned = any(_is_later(gap, before) and _is_later(after, gap) for gap in gaps)
    for where in missing:
        if is_owned:
            told["in gaps"] += 1
        else:
            verdict.wrong("missing", where)
    missing.clear()


def _is_later(event, other):
    """In the record of one boot; what is of another boot, or not there, does not speak against it."""
    if event is None or other is None:
        return True
    boot, _, sequence = event["id"].rpartition("/")
    other_boot, _, other_sequence = other["id"].rpartition("/")
    return boot != other_boot or int(sequence) > int(other_sequence)


def _compare_pair(verdict, session, statement, event, executables, where, is_at_start):
    """Who it was. A session that was open before, and a process that was gone before the agent had looked around, may
    not be known by name, but never by a wrong one."""
    is_joined = field(event, "fidelity") == "joined-mid-stream" or is_at_start
    _, program, opener = session.application.split(":")
    for name, got, want in (("user", field(event, "session.user"), session.user),
                            ("database", field(event, "database.name"), session.database),
                            ("process", field(event, "actor.pid", 0), int(opener)),
                            ("program", field(event, "actor.exe"), executables[program])):
        if got != want and not (is_joined and got in ("", 0)):
            verdict.wrong("wrong " + name, f"{where}: {got!r} for {want!r}")
    if field(event, "result.sqlstate") != statement.sqlstate and field(event, "outcome") not in _UNANSWERED:
        verdict.wrong("wrong sqlstate", f"{where}: {field(event, 'result.sqlstate')!r} for {statement.sqlstate!r}")


def _key_of_event(event):
    text = field(event, "statement.text")
    if not text and field(event, "fidelity") == "joined-mid-stream":
        text = field(event, "statement.name")
    return field(event, "statement.protocol"), text, tuple(field(event, "statement.parameters", []))


def _key_of_log(statement, text=None):
    return (statement.protocol, statement.text if text is None else text, tuple(statement.parameters or ()))
