# SPDX-License-Identifier: Apache-2.0
"""Refusals that hold. However a statement is written, cut, named or hidden, no byte of it reaches the server once a
rule refuses it, and the session is left as the server itself leaves one after an error.

Two observers: a tap between the shim and the server, and the server's own log. The reference of each case is the same
conversation on a direct session, with a text in the refused one's place that the server itself cannot but fail.
"""

import dataclasses
import itertools

from tests.e2e.context import require
from tests.support import wire
from tests.support.wire import bind, close, describe, execute, extended, function_call, parse, query

RULES = """
rules:
  - id: gate-delete-all
    on: statement
    when: |
      ("delete" in statement.effects || "truncate" in statement.effects) && !statement.filters_rows
    then: block
    mode: active
    severity: high
    message: Add a WHERE clause.
  - id: gate-secrets
    on: statement
    when: |
      "secrets" in statement.reads
    then: block
    mode: active
  - id: gate-drop
    on: statement
    when: |
      "drop" in statement.effects
    then: block
    mode: active
  - id: gate-code
    on: statement
    when: |
      "run-code" in statement.effects || "run-text" in statement.effects
    then: block
    mode: active
  - id: gate-function-call
    on: statement
    when: statement.protocol == "function-call"
    then: block
    mode: active
  - id: gate-unparsed
    on: statement
    when: "!statement.parsed"
    then: block
    mode: active
"""

# With a catalog: what a view, a function or a path leads to.
CATALOG_RULES = RULES + """
  - id: gate-unknown
    on: statement
    when: |
      "unknown" in statement.effects
    then: block
    mode: active
  - id: gate-guarded
    on: statement
    when: |
      "guarded" in statement.writes && statement.verb == "SELECT"
    then: block
    mode: active
  - id: gate-vault
    on: statement
    when: |
      "vault.plans" in statement.reads
    then: block
    mode: active
"""

SECRET = "what nobody may read"
SETUP = f"""
create table guarded (id int);
insert into guarded select generate_series(1, 5);
create table secrets (v text);
insert into secrets values ('{SECRET}');
create table lines (a int, b text);
create table droppable (id int);
create function purge() returns int language sql as 'delete from guarded returning id';
create view shown as select v from secrets;
create schema vault;
create table vault.plans (v text);
create table public.plans (v text);
"""
STATE = """select (select count(*) from guarded), (select count(*) from pg_class where relname = 'droppable'),
  (select coalesce(seq_scan, 0) from pg_stat_user_tables where relname = 'secrets')"""

MIB = 1 << 20
SHOWN_MESSAGES_MAX = 12
ONE_BYTE_MAX = 600  # longer conversations are not sent in segments of one byte

_marks = itertools.count(1)


@dataclasses.dataclass
class Case:
    """`send(text)`: the conversation with `text` in its place; `readies`: how many ReadyForQuery answer it."""
    name: str
    text: bytes  # refused; with %m where its mark stands
    send: object = query
    readies: int = 1
    broken: bytes = b"selct 1"  # fails on a direct session where `text` is refused on a judged one
    may_end: bool = False  # the session may be ended instead
    is_run_later: bool = False  # its text may be prepared; what is refused is to run it
    start: dict = dataclasses.field(default_factory=dict)


def _texts():
    """Texts that are refused whatever message brings them."""
    delete = b"delete from guarded /*%m*/"
    yield "delete", delete
    yield "delete-case", b"/* a */ DeLeTe\n--x\nFROM only \"guarded\" * as g /*%m*/"
    yield "delete-schema", b"delete from public.guarded where 1 = 1 or id = 3 and true /*%m*/"
    yield "delete-true", b"delete from guarded where true /*%m*/"
    yield "delete-returning", b"delete from guarded /*%m*/ returning *"
    yield "truncate", b"truncate guarded /*%m*/"
    yield "cte", b"with d as (delete from guarded /*%m*/ returning id) select count(*) from d"
    yield "cte-deep", (b"with a as (select 1), d as (with e as (select 2) "
                        b"delete from guarded /*%m*/ returning id) select 3")
    yield "explain-analyze", b"explain (analyze true, costs off) delete from guarded /*%m*/"
    yield "explain-words", b"explain analyze verbose delete from guarded /*%m*/"
    yield "copy-delete", b"copy (delete from guarded /*%m*/ returning id) to stdout"
    yield "read", b"select v /*%m*/ from secrets"
    yield "read-table", b"table secrets /*%m*/"
    yield "read-join", b"select s.v from guarded g, lateral (select v from secrets /*%m*/) s"
    yield "read-sub", b"select (select max(v) from secrets /*%m*/)"
    yield "read-where", b"select 1 from guarded where exists (select from \"secrets\" /*%m*/)"
    yield "read-unicode", b"select v /*%m*/ from U&\"\\0073ecrets\""
    yield "read-unicode-escape", b"select v /*%m*/ from U&\"s!0065crets\" uescape '!'"
    yield "read-set", b"select 'a' union all select v /*%m*/ from secrets"
    yield "read-into-copy", b"copy secrets /*%m*/ to stdout"
    yield "read-copy-query", b"copy (select v from secrets /*%m*/) to stdout with (format binary)"
    yield "read-insert", b"insert into lines (b) select v /*%m*/ from secrets"
    yield "read-create", b"create temp table stolen as select v /*%m*/ from secrets"
    yield "read-update", b"update lines set b = (select v from secrets) /*%m*/ where a = 1"
    yield "drop", b"drop table droppable /*%m*/"
    yield "drop-many", b"drop table if exists nowhere, droppable /*%m*/ cascade"
    yield "do", b"do $$ begin delete from guarded; end $$ /*%m*/"
    yield "do-text", b"do $x$ begin execute 'del' || 'ete from guarded'; end $x$ /*%m*/"
    yield "dollar", b"select $a$ $b$ ' $a$, $$'$$; delete from guarded /*%m*/ -- '"
    yield "escape-string", b"select E'\\\\'; delete from guarded /*%m*/ --'"
    yield "plain-string", b"select '\\'; delete from guarded /*%m*/ --'"
    yield "comment-nested", b"/* /* */ delete from lines */ delete from guarded /*%m*/ -- /*"
    yield "comment-many", b"/*a*/" * 300 + delete
    yield "comment-deep", b"/*" * 400 + b"*/" * 400 + delete
    yield "line-comment", b"-- delete\r\ndelete from guarded /*%m*/"
    yield "white-space", b" \t\n\x0b\x0c\r" * 50 + delete


def _simple_cases():
    for name, text in _texts():
        yield Case(name, text)
    yield Case("many", b"select 1; delete from guarded /*%m*/; select 2")
    yield Case("many-last", b"select 1;;; select 2; drop table droppable /*%m*/")
    yield Case("many-transaction", b"begin; delete from guarded /*%m*/; commit")
    for name, size in (("64k", 65536), ("1m", MIB), ("15m", 15 * MIB)):
        yield Case(f"padded-comment-{name}", b"/*" + b"x" * size + b"*/ delete from guarded /*%m*/")
    yield Case("padded-blanks", b" " * (2 * MIB) + b"delete from guarded /*%m*/")
    yield Case("padded-behind", b"delete from guarded /*%m*/" + b" " * (2 * MIB))
    yield Case("padded-string", b"select '" + b"y" * (3 * MIB) + b"'; delete from guarded /*%m*/")
    yield Case("padded-20m", b"/*" + b"x" * (20 * MIB) + b"*/ delete from guarded /*%m*/", may_end=True)
    yield Case("padded-20m-behind", b"delete from guarded /*%m*/" + b" " * (20 * MIB), may_end=True)
    yield Case("pipelined-simple", b"delete from guarded /*%m*/", readies=3,
               send=lambda t: query("select 1") + query(t) + query("select 3"))
    yield Case("in-transaction", b"delete from guarded /*%m*/", readies=5, send=lambda t: query("begin") + query(
        "insert into lines values (1)") + query(t) + query("select 1") + query("commit"))
    yield Case("in-savepoint", b"delete from guarded /*%m*/", readies=6, send=lambda t: query("begin") + query(
        "savepoint s") + query(t) + query("rollback to s") + query("select 'saved'") + query("rollback"))
    yield Case("after-failure", b"delete from guarded /*%m*/", readies=3, send=lambda t: query(
        "begin; select 1 / 0") + query(t) + query("rollback"))
    # Read otherwise by what runs before it in the same pipeline.
    off = query("set standard_conforming_strings = off")
    sneaky = b"select '\\''; delete from guarded /*%m*/ --'"
    yield Case("strings-off", sneaky, readies=2, send=lambda t: off + query(t))
    yield Case("strings-off-function", sneaky, readies=2, send=lambda t: query(
        "select set_config('standard_conforming_strings', 'off', false)") + query(t))
    yield Case("strings-off-start", sneaky, start={"options": "-c standard_conforming_strings=off"})
    sjis = b"select E'\x83\x5c'; delete from guarded /*%m*/ --'"
    yield Case("encoding", sjis, readies=2, send=lambda t: query("set client_encoding = sjis") + query(t))
    yield Case("encoding-names", sjis, readies=2, send=lambda t: query("set names 'sjis'") + query(t))
    yield Case("encoding-start", sjis, start={"client_encoding": "sjis"})
    yield Case("execute", b"execute p /*%m*/", readies=2, broken=b"execute nowhere",
               send=lambda t: query("prepare p as delete from guarded") + query(t))
    yield Case("execute-quoted", b"execute \"P x\"(3) /*%m*/", readies=2, broken=b"execute nowhere",
               send=lambda t: query("prepare \"P x\"(int) as select v, $1 from secrets") + query(t))
    yield Case("execute-explain", b"explain analyze execute p /*%m*/", readies=2, broken=b"execute nowhere",
               send=lambda t: query("prepare p as delete from guarded") + query(t))
    yield Case("execute-create", b"create temp table stolen as execute p /*%m*/", readies=2, broken=b"execute nowhere",
               send=lambda t: query("prepare p as select v from secrets") + query(t))
    yield Case("execute-one-text", b"prepare p as delete from guarded; execute p /*%m*/",
               broken=b"prepare p as selct; execute p")


def _extended_cases():
    for name, text in _texts():
        if b";" not in text.replace(b"; end", b""):
            yield Case(f"{name}-extended", text, send=extended)
    text = b"delete from guarded /*%m*/"
    yield Case("two-in-a-parse", b"select 1; delete from guarded /*%m*/", send=extended)
    yield Case("pipelined", text, readies=2, send=lambda t: (
        parse("select 1", "a") + bind("a") + execute() + parse(t, "b") + bind("b") + execute() + bind("a") + execute()
        + wire.SYNC + bind("a") + execute() + wire.SYNC))
    yield Case("named-later", text, readies=3, send=lambda t: (
        parse(t, "later") + wire.SYNC + bind("later") + execute() + wire.SYNC + query("select 'goes on'")))
    yield Case("portal-named", text, send=lambda t: (
        parse(t, "s") + bind("s", "portal") + describe("P", "portal") + execute("portal", 1) + execute("portal") +
        wire.SYNC))
    yield Case("behind-suspended-portal", text, readies=2, send=lambda t: (
        query("begin") + parse("select generate_series(1, 9)") + bind("", "half") + execute("half", 2) + parse(t) +
        bind() + execute() + execute("half", 2) + wire.SYNC))
    yield Case("flushed", text, send=lambda t: (
        parse("select 1") + bind() + execute() + wire.FLUSH + parse(t) + wire.FLUSH + bind() + execute() + wire.SYNC))
    yield Case("name-taken-again", text, readies=2, send=lambda t: (
        parse("select 1", "n") + bind("n") + execute() + wire.SYNC + close("S", "n") + parse(t, "n") + bind("n") +
        execute() + wire.SYNC))
    yield Case("begun-in-pipeline", text, readies=2, send=lambda t: (
        parse("begin") + bind() + execute() + parse("insert into lines values (2)") + bind() + execute() + parse(t) +
        bind() + execute() + wire.SYNC + query("rollback")))
    yield Case("simple-behind-extended", text, readies=2, send=lambda t: extended("select 1") + query(t))
    yield Case("query-ends-pipeline", text, send=lambda t: parse("select 1") + bind() + execute() + query(t))
    yield Case("strings-off-extended", b"select '\\'' as a, (select count(*) from secrets) /*%m*/ --'", send=lambda t: (
        parse("set standard_conforming_strings = off") + bind() + execute() + parse(t) + bind() + execute() +
        wire.SYNC))
    yield Case("execute-parsed", b"execute p /*%m*/", readies=2, broken=b"execute nowhere", is_run_later=True,
               send=lambda t: query("prepare p as delete from guarded") + extended(t))
    yield Case("execute-of-parse", b"execute p /*%m*/", readies=2, broken=b"selct",
               send=lambda t: parse(b"delete from guarded where id < 0", "p") + wire.SYNC + query(t.replace(
                   b"execute p", b"truncate guarded")))
    yield Case("behind-copy", text, readies=2, send=lambda t: (
        query("copy lines (a) from stdin") + wire.frame(b"d", b"7\n") + wire.frame(b"c") + query(t)))
    yield Case("behind-failed-copy", text, readies=2, send=lambda t: (
        query("copy lines (a) from stdin") + wire.frame(b"d", b"x\n") + wire.frame(b"c") + query(t)))
    yield Case("behind-copy-that-never-was", text, readies=2, send=lambda t: (
        query("copy nowhere from stdin") + wire.frame(b"d", b"7\n") + wire.frame(b"c") + query(t)))
    yield Case("parameters", b"delete from guarded /*%m*/ where $1 or true", send=lambda t: extended(t, ["false"]))


def catalog_cases():
    yield Case("view", b"select v from shown /*%m*/")
    yield Case("view-extended", b"select v from shown /*%m*/", send=extended)
    yield Case("function", b"select purge() /*%m*/")
    yield Case("function-in-from", b"select count(*) from purge() /*%m*/", send=extended)
    path = b"select v from plans /*%m*/"
    yield Case("path", path, readies=2, send=lambda t: query("set search_path = vault") + query(t))
    yield Case("path-function", path, readies=2, send=lambda t: query(
        "select set_config('search_path', 'vault', false)") + query(t))
    yield Case("path-local", path, readies=3, send=lambda t: query("begin") + query(
        "set local search_path = vault, public") + query(t))
    yield Case("path-extended", path, send=lambda t: (
        parse("set search_path = vault") + bind() + execute() + parse(t) + bind() + execute() + wire.SYNC))
    yield Case("path-start", path, start={"options": "-c search_path=vault"})
    yield Case("path-of-parsed", path, readies=3, broken=b"select v from plans_that_are_not", send=lambda t: (
        query("set search_path = vault") + parse(t, "s") + wire.SYNC + bind("s") + execute() + wire.SYNC))
    yield Case("path-in-function", b"select later() /*%m*/", readies=2, send=lambda t: query(
        "create or replace function later() returns int language sql as "
        "'delete from guarded returning id'") + query(t))


# Statements that look like what is refused and are not: they must go on.
ALLOWED = (
    query("select 'delete from guarded', $$drop table droppable$$ /* delete from secrets */"),
    query("delete from guarded where id = -1"),
    query("select \"secrets\" from (select 1 as secrets) x"),
    query("prepare q as delete from guarded"),
    query("copy lines (b) from stdin") + wire.frame(b"d", b"delete from guarded\n") + wire.frame(b"c"),
    query("delete from lines where b = 'delete from guarded'"),
    query("explain (costs off) select 1"),
    extended("select $1::text", ["delete from guarded; drop table droppable"]),
    query("select '" + "delete from guarded; " * 1000 + "'"),
)


def conversation(port, case, text, segments=None, host="127.0.0.1"):
    """The answers, and what the session says next; None where it was ended."""
    with wire.Session(port, host=host, segments=segments, **case.start) as session:
        try:
            answers = session.ask(case.send(text), case.readies)
            return answers, session.ask(query("select 'goes on'"))
        except (wire.Closed, ConnectionError):
            return None, None


def all_cases():
    return (*_simple_cases(), *_extended_cases())


def run(port, direct, inner, server, cases, full):
    """`direct`: port and address that lead around the shim; `inner`: the tap at the server's side of it."""
    state = server.psql(STATE, database="talk").stdout
    inner.take()
    for request in ALLOWED:  # nothing that only looks like it
        with wire.Session(port) as session:
            answers = session.ask(request)
            require(not wire.errors(answers), f"refused by mistake: {request[:80]!r}: {wire.errors(answers)}")
    failures = []
    for case in cases:
        is_short = len(case.send(case.text)) <= ONE_BYTE_MAX
        for segments in (None, 1) if is_short and (full or case.readies > 1) else (None,):
            failure = _check(case, segments, port, direct, inner)
            if failure:
                failures.append(f"{case.name}{' in single bytes' if segments else ''}: {failure}")
                print("   ", failures[-1][:600], flush=True)
    failures += [f"{name}: {failure}" for name, check in SPECIAL if (failure := check(port, inner))]
    now = server.psql(STATE, database="talk").stdout
    if state != now:
        failures.append(f"the data has changed: {state.strip()} was, {now.strip()} is")
    require(not failures, f"{len(failures)} refusals do not hold:\n  " + "\n  ".join(f[:400] for f in failures))


def _check(case, segments, port, direct, inner):
    mark = f"mark_{next(_marks)}_".encode()
    text = case.text.replace(b"%m", mark)
    answers, after = conversation(port, case, text, segments)
    passed = inner.take()
    if not case.is_run_later and any(mark in r.to_server for r in passed):
        return "it reached the server"
    if any(SECRET.encode() in r.to_client for r in passed):
        return "the secret left the server"
    if answers is None:
        return None if case.may_end else "the session was ended"
    # 54000: longer than statement_bytes_max; no rule was asked.
    refusals = [e for e in wire.errors(answers) if e["C"] == "42501" or case.may_end and e["C"] == "54000"]
    if len(refusals) != 1 or refusals[0]["S"] != "ERROR" or ("gate-" not in str(refusals[0]) and not case.may_end):
        return f"no refusal: {wire.errors(answers)} {wire.shape(answers)[:SHOWN_MESSAGES_MAX]}"
    if case.may_end:
        return None
    want, want_after = conversation(direct[0], case, case.broken, host=direct[1])
    if wire.shape(want) != wire.shape(answers):
        got, wanted = (wire.shape(messages)[:SHOWN_MESSAGES_MAX] for messages in (answers, want))
        return f"answers\n    {got}\n    direct {wanted}"
    if wire.shape(want_after) != wire.shape(after):
        return f"after it {wire.shape(after)}, direct {wire.shape(want_after)}"
    return None


def _ends_well(session, answers):
    """The session has been refused something and goes on."""
    if not any(e["C"] == "42501" for e in wire.errors(answers)):
        return f"no refusal: {wire.errors(answers)} {wire.shape(answers)[:SHOWN_MESSAGES_MAX]}"
    if not any(tag == b"D" and b"goes on" in body for tag, body in session.ask(query("select 'goes on'"))):
        return "the session does not go on"
    return None


def _cursor(port, inner):
    with wire.Session(port) as session:
        answers = session.ask(query("begin") + query("declare c cursor for select v from secrets")
                              + query("fetch all from c") + query("rollback"), 4)
        if any(SECRET.encode() in body for _, body in answers):
            return "a cursor has read it"
        return _ends_well(session, answers)


def _prepared_anew(port, inner):
    """A Parse of EXECUTE p was judged while p was harmless."""
    with wire.Session(port) as session:
        answers = session.ask(query("prepare p as select 1") + parse("execute p", "e") + bind("e") + execute() +
                              wire.SYNC + query("deallocate p; prepare p as select v from secrets") + bind("e") +
                              execute() + wire.SYNC, 4)
        if any(SECRET.encode() in body for _, body in answers):
            return "it was read"
        return _ends_well(session, answers)


def _function_call(port, inner):
    inner.take()
    with wire.Session(port) as session:
        answers = session.ask(function_call(1397, b"-42"))  # int4abs
        sent = b"".join(bytes(r.to_server) for r in inner.take())
        if wire.frame(b"F")[:1] + function_call(1397, b"-42")[1:5] in sent:
            return "it reached the server"
        return _ends_well(session, answers)


def _trailing(port, inner):
    """Bytes behind a text's NUL: the server refuses the message; whatever else happens, they are no statement."""
    inner.take()
    with wire.Session(port) as session:
        session.send(wire.frame(b"Q", b"select 1\0delete from guarded /*mark_trailing*/\0"))
        try:
            answers = session.answers()
        except wire.Closed:
            return None
        return None if wire.errors(answers) else "it was run"


SPECIAL = (("cursor", _cursor), ("prepared anew", _prepared_anew), ("function call", _function_call),
           ("trailing bytes", _trailing))


def self_test(port, direct, inner):
    """The checks find what a forwarder without any rule lets through."""
    direct = (direct, "127.0.0.1")
    case = Case("delete", b"delete from lines where a = 77 /*%m*/")
    require(_check(case, None, port, direct, inner) == "it reached the server", "a forwarder passed")
    case = Case("read", b"select v from secrets")
    require(_check(case, 1, port, direct, inner) == "the secret left the server", "a forwarder passed")
