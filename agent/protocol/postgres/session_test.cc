// SPDX-License-Identifier: Apache-2.0
// Transcripts: what a session makes of whole conversations. All bytes are made; the corpus has captured ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/postgres_wire.h"

namespace gatehouse::test {
namespace {

using ::testing::ElementsAreArray;

struct Case {
  std::string name;
  Script script;
  std::vector<std::string> want;
  bool logs_in = true;
};

const Script kLogin{client(startup({"user", "ann", "database", "shop"})), server(welcome())};

std::vector<Case> cases() {
  return {
      {"simple query",
       {client(query("SELECT 1")), server(row_description() + data_row("1") + complete("SELECT 1") + ready())},
       {"simple ok {SELECT 1} tag=SELECT 1 rows=1 tx=I"}},
      {"empty query", {client(query("")), server(frame('I') + ready())}, {"simple ok {} tx=I"}},
      {"error",
       {client(query("SELEC")), server(error("42601") + ready())},
       {"simple error {SELEC} sqlstate=42601 tx=I"}},
      {"several statements",
       {client(query("BEGIN; SELECT ';' -- a;\n; /* b; */ INSERT INTO t VALUES (1)")),
        server(complete("BEGIN") + row_description() + data_row(";") + complete("SELECT 1") + complete("INSERT 0 1") +
               ready('T'))},
       {"simple ok {BEGIN} tag=BEGIN tx=T", "simple ok {SELECT ';' -- a;} tag=SELECT 1 rows=1 index=1 tx=T",
        "simple ok {/* b; */ INSERT INTO t VALUES (1)} tag=INSERT 0 1 rows=1 index=2 tx=T"}},
      {"several statements, one fails",
       {client(query("SELECT 1; SELECT 1/0; SELECT 2")),
        server(row_description() + data_row("1") + complete("SELECT 1") + error("22012") + ready())},
       {"simple ok {SELECT 1} tag=SELECT 1 rows=1 tx=I", "simple error {SELECT 1/0} index=1 sqlstate=22012 tx=I",
        "simple skipped {SELECT 2} index=2 tx=I"}},
      {"several statements, syntax error anywhere: not said which",
       {client(query("SELECT 1; SELEC 2")), server(error("42601") + ready())},
       {"simple error {SELECT 1; SELEC 2} sqlstate=42601 tx=I"}},
      {"counts do not agree: one activity",
       {client(query("SELECT 1; SELECT 2")), server(complete("SELECT 1") + ready())},
       {"simple ok {SELECT 1; SELECT 2} tag=SELECT 1 rows=1 tx=I"}},
      {"extended, unnamed",
       {client(parse("", "SELECT $1", {23}) + bind("", "", {"7"}) + describe('P', "") + execute() + sync()),
        server(parse_complete() + bind_complete() + row_description() + data_row("7") + complete("SELECT 1") +
               ready())},
       {"extended ok {SELECT $1} '7':23 tag=SELECT 1 rows=1 tx=I"}},
      {"prepared long before",
       {client(parse("s1", "SELECT $1, $2") + describe('S', "s1") + sync()),
        server(parse_complete() + parameter_description({25, 23}) + row_description() + ready()),
        client(query("SELECT 5")), server(row_description() + complete("SELECT 0") + ready()),
        client(bind("", "s1", {"a", std::nullopt}) + execute() + sync()),
        server(bind_complete() + data_row("a") + complete("SELECT 1") + ready()),
        client(bind("", "s1", {"b", "c"}, 1) + execute() + sync()),
        server(bind_complete() + data_row("a") + complete("SELECT 1") + ready())},
       {"simple ok {SELECT 5} tag=SELECT 0 tx=I",
        "extended ok {SELECT $1, $2} statement=s1 'a':25 null:23 tag=SELECT 1 rows=1 tx=I",
        "extended ok {SELECT $1, $2} statement=s1 'b'b:25 'c'b:23 tag=SELECT 1 rows=1 tx=I"}},
      {"pipeline with an error: the rest is skipped to Sync",
       {client(parse("", "INSERT 1") + bind("", "") + execute() + parse("", "BAD") + bind("", "") + execute() +
               parse("", "INSERT 3") + bind("", "", {"x"}) + execute() + sync() + parse("", "SELECT 4") + bind("", "") +
               execute() + sync()),
        server(parse_complete() + bind_complete() + complete("INSERT 0 1") + error("42601") + ready() +
               parse_complete() + bind_complete() + complete("SELECT 0") + ready())},
       {"extended ok {INSERT 1} tag=INSERT 0 1 rows=1 tx=T", "extended error {BAD} sqlstate=42601 tx=I",
        "extended skipped {BAD} tx=I", "extended skipped {INSERT 3} 'x' tx=I",
        "extended ok {SELECT 4} tag=SELECT 0 tx=I"}},
      {"a Parse that fails keeps the name's text",
       {client(parse("s", "SELECT 1") + sync()), server(parse_complete() + ready()),
        client(parse("s", "SELECT 2") + sync()), server(error("42P05") + ready()),
        client(bind("", "s") + execute() + sync()), server(bind_complete() + complete("SELECT 0") + ready())},
       {"extended error {SELECT 2} statement=s sqlstate=42P05 tx=I",
        "extended ok {SELECT 1} statement=s tag=SELECT 0 tx=I"}},
      {"Bind fails",
       {client(parse("s", "SELECT $1") + bind("p", "s", {"x"}) + execute("p") + sync()),
        server(parse_complete() + error("22P02") + ready('I'))},
       {"extended error {SELECT $1} statement=s portal=p 'x' sqlstate=22P02 tx=I",
        "extended skipped {SELECT $1} statement=s portal=p 'x' tx=I"}},
      {"commit fails at Sync",
       {client(parse("", "INSERT d") + bind("", "") + execute() + sync()),
        server(parse_complete() + bind_complete() + complete("INSERT 0 1") + error("23503") + ready())},
       {"extended error {INSERT d} tag=INSERT 0 1 rows=1 sqlstate=23503 tx=I"}},
      {"row limit suspends",
       {client(query("BEGIN")), server(complete("BEGIN") + ready('T')),
        client(parse("", "SELECT g") + bind("p", "") + execute("p", 2) + flush()),
        server(parse_complete() + bind_complete() + data_row("1") + data_row("2") + frame('s')),
        client(execute("p", 2) + sync()), server(data_row("3") + complete("SELECT 1") + ready('T'))},
       {"simple ok {BEGIN} tag=BEGIN tx=T", "extended suspended {SELECT g} portal=p rows=2 tx=T",
        "extended ok {SELECT g} portal=p tag=SELECT 1 rows=1 tx=T"}},
      {"error in the middle of a result",
       {client(query("SELECT 1/(3-g)")),
        server(row_description() + data_row("1") + data_row("1") + error("22012") + ready())},
       {"simple error {SELECT 1/(3-g)} rows=2 sqlstate=22012 tx=I"}},
      {"SQL-level PREPARE and EXECUTE",
       {client(query("PREPARE \"Q\" (int) AS SELECT $1;")), server(complete("PREPARE") + ready()),
        client(query("/* x */ execute \"Q\" (1)")),
        server(row_description() + data_row("1") + complete("SELECT 1") + ready()),
        client(query("EXPLAIN (ANALYZE) EXECUTE \"Q\"(2)")),
        server(row_description() + data_row("p") + complete("EXPLAIN") + ready()),
        client(bind("", "Q", {"3"}) + execute() + sync()), server(bind_complete() + complete("SELECT 1") + ready()),
        client(query("DEALLOCATE PREPARE \"Q\"")), server(complete("DEALLOCATE") + ready()),
        client(query("EXECUTE \"Q\"(1)")), server(error("26000") + ready())},
       {"simple ok {PREPARE \"Q\" (int) AS SELECT $1;} tag=PREPARE tx=I",
        "simple ok {/* x */ execute \"Q\" (1)} runs {SELECT $1} tag=SELECT 1 rows=1 tx=I",
        "simple ok {EXPLAIN (ANALYZE) EXECUTE \"Q\"(2)} runs {SELECT $1} tag=EXPLAIN rows=1 tx=I",
        "extended ok {SELECT $1} statement=Q '3' tag=SELECT 1 rows=1 tx=I",
        "simple ok {DEALLOCATE PREPARE \"Q\"} tag=DEALLOCATE tx=I",
        "simple error {EXECUTE \"Q\"(1)} sqlstate=26000 tx=I"}},
      {"EXECUTE of a protocol-level statement; DISCARD ALL",
       {client(parse("s", "SELECT 9") + sync()), server(parse_complete() + ready()), client(query("EXECUTE S")),
        server(row_description() + complete("SELECT 0") + ready()), client(query("DISCARD ALL")),
        server(complete("DISCARD ALL") + ready()), client(bind("", "s") + execute() + sync()),
        server(error("26000") + ready())},
       {"simple ok {EXECUTE S} runs {SELECT 9} tag=SELECT 0 tx=I", "simple ok {DISCARD ALL} tag=DISCARD ALL tx=I",
        "extended error {} statement=s sqlstate=26000 tx=I", "extended skipped {} statement=s tx=I"}},
      {"cursor",
       {client(query(
            "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t; DECLARE d CURSOR FOR SELECT 2; FETCH 2 FROM c")),
        server(complete("BEGIN") + complete("DECLARE CURSOR") + complete("DECLARE CURSOR") + row_description() +
               data_row("1") + data_row("2") + complete("FETCH 2") + ready('T')),
        client(query("MOVE ALL IN d")), server(complete("MOVE 1") + ready('T')), client(query("COMMIT")),
        server(complete("COMMIT") + ready()), client(query("FETCH c")), server(complete("FETCH 1") + ready()),
        client(query("FETCH d")), server(error("34000") + ready()), client(query("CLOSE c")),
        server(complete("CLOSE CURSOR") + ready()), client(query("FETCH c")), server(error("34000") + ready())},
       {"simple ok {BEGIN} tag=BEGIN tx=T",
        "simple ok {DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t} tag=DECLARE CURSOR index=1 tx=T",
        "simple ok {DECLARE d CURSOR FOR SELECT 2} tag=DECLARE CURSOR index=2 tx=T",
        "simple ok {FETCH 2 FROM c} runs {SELECT * FROM t} tag=FETCH 2 rows=2 index=3 tx=T",
        "simple ok {MOVE ALL IN d} runs {SELECT 2} tag=MOVE 1 rows=1 tx=T", "simple ok {COMMIT} tag=COMMIT tx=I",
        "simple ok {FETCH c} runs {SELECT * FROM t} tag=FETCH 1 rows=1 tx=I",
        "simple error {FETCH d} sqlstate=34000 tx=I", "simple ok {CLOSE c} tag=CLOSE CURSOR tx=I",
        "simple error {FETCH c} sqlstate=34000 tx=I"}},
      {"COPY in",
       {client(query("COPY t FROM STDIN")), server(copy_response('G')),
        client(copy_data("1\n") + copy_data("22\n") + copy_done()), server(complete("COPY 2") + ready())},
       {"simple ok {COPY t FROM STDIN} tag=COPY 2 rows=2 copy=5 tx=I"}},
      {"COPY in, extended: the early Sync is swallowed",
       {client(parse("", "COPY t FROM STDIN") + bind("", "") + execute() + sync()),
        server(parse_complete() + bind_complete() + copy_response('G')),
        client(copy_data("1\n") + copy_done() + sync()), server(complete("COPY 1") + ready()),
        client(query("SELECT 1")), server(complete("SELECT 0") + ready())},
       {"extended ok {COPY t FROM STDIN} tag=COPY 1 rows=1 copy=2 tx=I", "simple ok {SELECT 1} tag=SELECT 0 tx=I"}},
      {"COPY in fails while the client sends",
       {client(query("COPY t FROM STDIN")), server(copy_response('G')), client(copy_data("x\n")),
        server(error("22P02") + ready()), client(copy_data("y\n") + copy_done()), client(query("SELECT 1")),
        server(complete("SELECT 0") + ready())},
       {"simple error {COPY t FROM STDIN} copy=2 sqlstate=22P02 tx=I", "simple ok {SELECT 1} tag=SELECT 0 tx=I"}},
      {"COPY in fails, extended",
       {client(parse("", "COPY t FROM STDIN") + bind("", "") + execute() + sync()),
        server(parse_complete() + bind_complete() + copy_response('G')),
        client(copy_data("x\n") + copy_fail("no") + sync()), server(error("57014") + ready()),
        client(query("SELECT 1")), server(complete("SELECT 0") + ready())},
       {"extended error {COPY t FROM STDIN} copy=2 sqlstate=57014 tx=I", "simple ok {SELECT 1} tag=SELECT 0 tx=I"}},
      {"COPY out",
       {client(query("COPY t TO STDOUT")),
        server(copy_response('H') + copy_data("1\n") + copy_data("2\n") + copy_done() + complete("COPY 2") + ready())},
       {"simple ok {COPY t TO STDOUT} tag=COPY 2 rows=2 copy=4 tx=I"}},
      {"function call",
       {client(function_call(1598, {"ab"})), server(frame('V', be32(0xffffffff)) + ready())},
       {"function ok {FUNCTION CALL 1598} 'ab' tx=I"}},
      {"notifications, notices and parameters at any time",
       {server(notification("jobs", "run")), client(query("SET application_name = 'x'")),
        server(error("00000", "hi", "NOTICE", 'N') + parameter_status("application_name", "x") + complete("SET") +
               notification("jobs", "") + ready())},
       {"notify jobs 3", "notify jobs 0", "simple ok {SET application_name = 'x'} tag=SET tx=I"}},
      {"standard_conforming_strings off changes where text ends",
       {client(query("SET standard_conforming_strings = off")),
        server(complete("SET") + parameter_status("standard_conforming_strings", "off") + ready()),
        client(query("SELECT 'a\\'; SELECT '; SELECT 2")),
        server(complete("SELECT 1") + complete("SELECT 1") + ready())},
       {"simple ok {SET standard_conforming_strings = off} tag=SET tx=I",
        "simple ok {SELECT 'a\\x5c'; SELECT '} tag=SELECT 1 rows=1 tx=I",
        "simple ok {SELECT 2} tag=SELECT 1 rows=1 index=1 tx=I"}},
      {"a lead byte hides a backslash and a quote",
       {client(query("SET client_encoding = SJIS")),
        server(complete("SET") + parameter_status("client_encoding", "SJIS") + ready()),
        client(query("SELECT E'\x83\\'; SELECT 2")), server(complete("SELECT 1") + complete("SELECT 1") + ready())},
       {"simple ok {SET client_encoding = SJIS} tag=SET tx=I",
        "simple ok {SELECT E'\x83\\x5c'} tag=SELECT 1 rows=1 tx=I",
        "simple ok {SELECT 2} tag=SELECT 1 rows=1 index=1 tx=I"}},
      {"terminated by an administrator while idle", {server(error("57P01", "bye", "FATAL"))}, {}},
      {"TLS agreed", {client(ssl_request()), server("S"), client("\x16\x03\x01 hello")}, {"opaque tls"}, false},
      {"TLS refused, then plain",
       {client(ssl_request()), server("N"), client(startup({"user", "ann"})), server(welcome()),
        client(query("SELECT 1")), server(complete("SELECT 0") + ready())},
       {"connect 3.0 ann@ann", "authenticate none ok", "simple ok {SELECT 1} tag=SELECT 0 tx=I"},
       false},
      {"TLS refused, the start-up was sent before the answer",
       {client(ssl_request() + startup({"user", "ann"})), server("N"), server(welcome())},
       {"connect 3.0 ann@ann", "authenticate none ok"},
       false},
      {"plain text after SSLRequest is not believed",
       {client(ssl_request() + startup({"user", "ann"})), server("S")},
       {"opaque tls"},
       false},
      {"GSS agreed", {client(gss_request()), server("G")}, {"opaque gss"}, false},
      {"direct TLS", {client("\x16\x03\x01\x02")}, {"opaque tls"}, false},
      {"not PostgreSQL", {client("GET / HTTP/1.1\r\n\r\n")}, {"opaque not-postgresql"}, false},
      {"cancel", {client(cancel_request(4711))}, {"cancel 4711"}, false},
      {"cancel, 3.2 key", {client(cancel_request(4711, 32))}, {"cancel 4711"}, false},
      {"SCRAM",
       {client(startup({"user", "ann", "database", "shop", "application_name", "app"}, 2)),
        server(authentication(10, std::string("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 34))),
        client(frame('p', "secret")), server(authentication(11, "x")), client(frame('p', "secret")),
        server(authentication(12, "x") + welcome())},
       {"connect 3.2 ann@shop", "authenticate scram-sha-256 ok"},
       false},
      {"wrong password",
       {client(startup({"user", "ann"})), server(authentication(5, "salt")), client(frame('p', "secret")),
        server(error("28P01", "no", "FATAL"))},
       {"connect 3.0 ann@ann", "authenticate md5 error sqlstate=28P01"},
       false},
      {"replication",
       {client(startup({"user", "ann", "replication", "true"})), server(welcome()), client(query("IDENTIFY_SYSTEM")),
        server(row_description() + data_row("1") + complete("IDENTIFY_SYSTEM") + ready()),
        client(query("START_REPLICATION 0/1")), server(copy_response('W') + copy_data("wal")), client(copy_data("ack")),
        server(copy_data("wal")), client(copy_done()),
        server(copy_done() + complete("START_STREAMING") + complete("START_REPLICATION") + ready())},
       {"connect 3.0 ann@ann", "authenticate none ok",
        "replication ok {IDENTIFY_SYSTEM} tag=IDENTIFY_SYSTEM rows=1 tx=I",
        "replication ok {START_REPLICATION 0/1} tag=START_REPLICATION rows=2 copy=9 tx=I"},
       false},
  };
}

// How sessions end before the server is ready again. Each statement is told once, whatever ends it.
const std::string kCrash = error("57P02", "another process crashed", "FATAL");
const std::string kKilled = error("57P01", "bye", "FATAL");

std::vector<Case> ends() {
  return {
      {"a query ends its own session",
       {client(query("SELECT pg_terminate_backend(pg_backend_pid())")), server(row_description() + kKilled)},
       {"simple error {SELECT pg_terminate_backend(pg_backend_pid())} sqlstate=57P01 tx=?",
        "disconnect fatal-error sqlstate=57P01"}},
      {"closed without a word", {client(query("SELECT 1"))}, {"simple aborted {SELECT 1} tx=I", "disconnect closed"}},
      {"closed after the answer, before ReadyForQuery",
       {client(query("SELECT 1")), server(row_description() + data_row("1") + complete("SELECT 1"))},
       {"simple ok {SELECT 1} tag=SELECT 1 rows=1 tx=I", "disconnect closed"}},
      {"closed after an error, before ReadyForQuery",
       {client(query("SELECT 1/0")), server(error("22012"))},
       {"simple error {SELECT 1/0} sqlstate=22012 tx=I", "disconnect closed"}},
      {"the server crashes after an error",
       {client(query("SELECT 1/0")), server(error("22012") + kCrash)},
       {"simple error {SELECT 1/0} sqlstate=22012 tx=?", "disconnect fatal-error sqlstate=57P02"}},
      {"one of several ends the session",
       {client(query("SELECT 1; SELECT die(); SELECT 2")),
        server(row_description() + data_row("1") + complete("SELECT 1") + row_description() + kKilled)},
       {"simple ok {SELECT 1} tag=SELECT 1 rows=1 tx=?", "simple error {SELECT die()} index=1 sqlstate=57P01 tx=?",
        "simple skipped {SELECT 2} index=2 tx=?", "disconnect fatal-error sqlstate=57P01"}},
      {"one of several fails, then the server crashes",
       {client(query("SELECT 1; SELECT 1/0; SELECT 2")),
        server(row_description() + data_row("1") + complete("SELECT 1") + row_description() + error("22012") + kCrash)},
       {"simple ok {SELECT 1} tag=SELECT 1 rows=1 tx=?", "simple error {SELECT 1/0} index=1 sqlstate=22012 tx=?",
        "simple skipped {SELECT 2} index=2 tx=?", "disconnect fatal-error sqlstate=57P02"}},
      {"one of several does not parse, then the server crashes",
       {client(query("SELECT 1; SELEC 2")), server(error("42601") + kCrash)},
       {"simple error {SELECT 1; SELEC 2} sqlstate=42601 tx=?", "disconnect fatal-error sqlstate=57P02"}},
      {"closed in the middle of several",
       {client(query("SELECT 1; SELECT 2; SELECT 3")),
        server(row_description() + data_row("1") + complete("SELECT 1") + row_description() + data_row("2"))},
       {"simple ok {SELECT 1} tag=SELECT 1 rows=1 tx=I", "simple aborted {SELECT 2} rows=1 index=1 tx=I",
        "simple skipped {SELECT 3} index=2 tx=I", "disconnect closed"}},
      {"several were answered, closed before ReadyForQuery",
       {client(query("SELECT 1; SELECT 2")), server(complete("SELECT 1") + complete("SELECT 1"))},
       {"simple ok {SELECT 1} tag=SELECT 1 rows=1 tx=I", "simple ok {SELECT 2} tag=SELECT 1 rows=1 index=1 tx=I",
        "disconnect closed"}},
      {"killed in Execute, a pipeline behind it",
       {client(parse("", "SELECT a") + bind("", "") + execute() + parse("", "SELECT b") + bind("", "") + execute() +
               sync() + parse("", "SELECT c") + bind("", "") + execute() + sync()),
        server(parse_complete() + bind_complete() + data_row("1") + kKilled)},
       {"extended error {SELECT a} rows=1 sqlstate=57P01 tx=?", "extended skipped {SELECT b} tx=?",
        "extended aborted {SELECT c} tx=?", "disconnect fatal-error sqlstate=57P01"}},
      {"a pipeline fails, then the server crashes before its Sync",
       {client(parse("", "SELECT 1/0") + bind("", "") + execute() + flush()),
        server(parse_complete() + bind_complete() + error("22012") + kCrash)},
       {"extended error {SELECT 1/0} sqlstate=22012 tx=?", "disconnect fatal-error sqlstate=57P02"}},
      {"killed at Parse",
       {client(parse("s", "SELECT a") + bind("", "s") + execute() + sync()), server(kKilled)},
       {"extended error {SELECT a} statement=s sqlstate=57P01 tx=?", "extended skipped {SELECT a} statement=s tx=?",
        "disconnect fatal-error sqlstate=57P01"}},
      {"killed at Sync",
       {client(parse("", "INSERT 1") + bind("", "") + execute() + sync()),
        server(parse_complete() + bind_complete() + complete("INSERT 0 1") + kKilled)},
       {"extended error {INSERT 1} tag=INSERT 0 1 rows=1 sqlstate=57P01 tx=?",
        "disconnect fatal-error sqlstate=57P01"}},
      {"killed while the client copies in",
       {client(query("COPY t FROM STDIN")), server(copy_response('G')), client(copy_data("1\n")), server(kKilled),
        client(copy_data("2\n") + copy_done())},
       {"simple error {COPY t FROM STDIN} copy=2 sqlstate=57P01 tx=?", "disconnect fatal-error sqlstate=57P01"}},
      {"killed while the client copies in, extended",
       {client(parse("", "COPY t FROM STDIN") + bind("", "") + execute() + sync()),
        server(parse_complete() + bind_complete() + copy_response('G')), client(copy_data("1\n")), server(kKilled),
        client(copy_data("2\n") + copy_done() + sync())},
       {"extended error {COPY t FROM STDIN} copy=2 sqlstate=57P01 tx=?", "disconnect fatal-error sqlstate=57P01"}},
      {"killed while the server copies out",
       {client(query("COPY t TO STDOUT")), server(copy_response('H') + copy_data("1\n") + kKilled)},
       {"simple error {COPY t TO STDOUT} rows=1 copy=2 sqlstate=57P01 tx=?", "disconnect fatal-error sqlstate=57P01"}},
      {"killed in a function call",
       {client(function_call(1598, {"ab"})), server(kKilled)},
       {"function error {FUNCTION CALL 1598} 'ab' sqlstate=57P01 tx=?", "disconnect fatal-error sqlstate=57P01"}},
      {"a function call is answered, closed before ReadyForQuery",
       {client(function_call(1598, {"ab"})), server(frame('V', be32(0xffffffff)))},
       {"function ok {FUNCTION CALL 1598} 'ab' tx=I", "disconnect closed"}},
      {"killed while idle, a query crosses",
       {server(kKilled), client(query("SELECT 1"))},
       {"simple aborted {SELECT 1} tx=?", "disconnect fatal-error sqlstate=57P01"}},
  };
}

Script whole(const Case& c) {
  Script script = c.logs_in ? kLogin : Script{};
  script.insert(script.end(), c.script.begin(), c.script.end());
  return script;
}

std::vector<std::string> run(const Script& script, size_t chunk_bytes, bool closes = false) {
  Feeder feeder;
  for (const Write& write : script)
    for (size_t at = 0; at < write.bytes.size(); at += chunk_bytes)
      feeder.data(write.direction, std::string_view(write.bytes).substr(at, chunk_bytes));
  if (closes) feeder.close();
  return feeder.recorder.lines;
}

std::vector<std::string> want_of(const Case& c) {
  std::vector<std::string> want = c.want;
  if (c.logs_in) want.insert(want.begin(), {"connect 3.0 ann@shop", "authenticate none ok"});
  return want;
}

TEST(PostgresSession, Transcripts) {
  for (const Case& c : cases()) EXPECT_THAT(run(whole(c), 1 << 20), ElementsAreArray(want_of(c))) << c.name;
}

TEST(PostgresSession, SameTranscriptForEveryChunkSize) {
  for (const Case& c : cases())
    for (size_t chunk = 1; chunk <= 40; ++chunk)
      ASSERT_THAT(run(whole(c), chunk), ElementsAreArray(want_of(c))) << c.name << ", chunk " << chunk;
}

TEST(PostgresSession, EachStatementIsToldOnceWhateverEndsTheSession) {
  for (const Case& c : ends()) {
    EXPECT_THAT(run(whole(c), 1 << 20, true), ElementsAreArray(want_of(c))) << c.name;
    for (size_t chunk = 1; chunk <= 40; ++chunk)
      ASSERT_THAT(run(whole(c), chunk, true), ElementsAreArray(want_of(c))) << c.name << ", chunk " << chunk;
  }
}

}  // namespace
}  // namespace gatehouse::test
