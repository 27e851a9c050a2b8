# SPDX-License-Identifier: Apache-2.0
"""The oracle of losses: what the agent did not record lies in the gaps that it declares, and nowhere else.

The clients speak the simple protocol, so the server's log gives the place of each statement in its session's stream of
requests to the byte: a Query message takes its text and six bytes more, Terminate takes five, and what is left of the
session's bytes is its startup packet, which is as long in every session of one client program. Statements are told
apart by text, so no text may repeat within a session.
"""

import collections
import re

from tests.support.oracle import Verdict, field

_QUERY_BYTES = 6
_TERMINATE_BYTES = 5
_GAP = re.compile(r"(?P<reason>[\w-]+) (?P<direction>request|response) offset=(?P<offset>\d+) bytes=(?P<bytes>\d+)")
_DROPPED = re.compile(r"spool-[\w-]+ events=(?P<events>\d+) first_sequence=(?P<first>\d+)")
ACCOUNT = ("unseen_bytes", "decoded_bytes", "left_out_bytes", "cut_bytes", "opaque_bytes", "lost_bytes")


def dropped_by_spool(events):
    """Boot -> how many events each boot says that its spool refused."""
    dropped = collections.Counter()
    for event in events:
        if found := _DROPPED.match(field(event, "detail") if event["kind"] == "gap" else ""):
            dropped[event["id"].rpartition("/")[0]] += int(found["events"])
    return dropped


def missing_sequences(events):
    """Boot -> how many of its sequence numbers up to the last are not there."""
    numbers = collections.defaultdict(set)
    for event in events:
        boot, _, sequence = event["id"].rpartition("/")
        numbers[boot].add(int(sequence))
    return {boot: max(found) - len(found) for boot, found in numbers.items()}


def of_sessions(log_sessions, events):
    """Each TCP session of the log with its events; None where the record has more or fewer sessions than the log.

    Found by the client's port. Where a port was used again (on a loopback address Linux does so after a second), its
    sessions have the same order in both.
    """
    recorded, ports = collections.defaultdict(list), collections.defaultdict(set)
    for event in events:
        if session := field(event, "session.id"):
            recorded[session].append(event)
            ports[field(event, "session.client")].add(session)
    logged = collections.defaultdict(list)
    for session in sorted(log_sessions, key=lambda s: s.opened):
        logged[session.address].append(session)
    for port, sessions in logged.items():
        found = sorted((recorded[i] for i in ports[port]), key=lambda l: min(e["time"] for e in l))
        yield from zip(sessions, found if len(found) == len(sessions) else [None] * len(sessions))


def compare(log_sessions, events):
    """Every statement of the log is recorded or in a gap of that very session; every byte has one owner."""
    verdict = Verdict()
    startup_bytes = collections.defaultdict(set)
    for session, found in of_sessions(log_sessions, events):
        verdict.sessions += 1
        if found is None:
            verdict.wrong("sessions not told of", session.address)
            continue
        startup_bytes[session.application].add(_compare_session(verdict, session, found))
    for application, found in startup_bytes.items():
        if len(found) > 1:
            verdict.wrong("bytes that do not add up", f"{application}: startup packets of {sorted(found)} bytes")
    return verdict


def _compare_session(verdict, session, events):
    where = f"{session.application} from port {session.client_port}"
    ends = [e for e in events if e["kind"] == "disconnect"]
    if len(ends) != 1:
        verdict.wrong("sessions without an end", f"{where}: {len(ends)} ends")
        return 0
    end = ends[0]
    gaps = [_GAP.match(field(e, "detail")) for e in events if e["kind"] == "gap"]
    _compare_bytes(verdict, end, gaps, where)
    sizes = [len(s.text.encode()) + _QUERY_BYTES for s in session.statements]
    startup = field(end, "request.bytes", 0) - sum(sizes) - _TERMINATE_BYTES
    spans = [(int(g["offset"]), int(g["offset"]) + int(g["bytes"])) for g in gaps if g and g["direction"] == "request"]
    recorded = _Recorded(events)
    at = startup
    for statement, size in zip(session.statements, sizes):
        verdict.statements += 1
        lost = sum(max(0, min(at + size, stop) - max(at, start)) for start, stop in spans)
        event = recorded.take(statement.text)
        if event is None and lost == 0:
            verdict.wrong("missing", f"{where}: bytes {at} to {at + size}, {statement.text[:60]!r}; gaps {spans[:9]}")
        elif event is not None and lost > 0 and field(event, "fidelity") == "complete":
            verdict.wrong("said to be complete", f"{where}: {lost} bytes of {statement.text[:60]!r} are lost")
        elif event is not None:
            verdict.matched += 1
        at += size
    for text in recorded.rest():
        verdict.wrong("unexpected", f"{where}: {text[:60]!r}")
    return startup


def _compare_bytes(verdict, end, gaps, where):
    moved = field(end, "request.bytes", 0) + field(end, "result.bytes", 0)
    owned = sum(field(end, "coverage." + name, 0) for name in ACCOUNT)
    if owned != moved:
        verdict.wrong("bytes without an owner", f"{where}: {moved} moved, {field(end, 'coverage', {})}")
    told = sum(int(g["bytes"]) for g in gaps if g)
    if told != field(end, "coverage.lost_bytes", 0):
        verdict.wrong("gaps that do not add up", f"{where}: gaps of {told} bytes, {field(end, 'coverage', {})}")
    if (told > 0) != (field(end, "coverage.verdict") in ("gaps", "blind")):
        verdict.wrong("wrong verdicts", f"{where}: {told} bytes lost, {field(end, 'coverage.verdict')}")


class _Recorded:
    """The texts of a session's statements. A truncated one stands for the text that it begins."""

    def __init__(self, events):
        self.whole, self.cut = {}, []
        for event in events:
            if event["kind"] != "statement":
                continue
            if field(event, "fidelity") == "complete":
                self.whole[field(event, "statement.text")] = event
            else:
                self.cut.append(event)

    def take(self, text):
        if event := self.whole.pop(text, None):
            return event
        for index, event in enumerate(self.cut):
            if (begin := field(event, "statement.text")) and text.startswith(begin):
                return self.cut.pop(index)
        return None

    def rest(self):
        return [*self.whole, *(text for e in self.cut if (text := field(e, "statement.text")))]
