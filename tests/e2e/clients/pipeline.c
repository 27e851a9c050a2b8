// SPDX-License-Identifier: Apache-2.0
// libpq in pipeline mode: unnamed and named statements in flight together, errors in the middle of a pipeline and what
// the server then skips, row-by-row results, large objects through FunctionCall, and a NOTIFY to itself.
// usage: pipeline TAG ROUNDS   (TAG starts every statement's tag)
#include <string.h>

#include "tests/support/clients.h"

typedef struct {
  char text[64];
} Tag;

enum { kTextBytesMax = 1024 };

static const char* tag_prefix;
static int next_tag;

static Tag new_tag(void) {
  Tag tag;
  must(snprintf(tag.text, sizeof tag.text, "%s.%d", tag_prefix, next_tag++) < (int)sizeof tag.text, NULL, "tag");
  return tag;
}

static void send_numbers(PGconn* conn, const char* tag, int rows) {
  char text[kTextBytesMax], value[16];
  snprintf(text, sizeof text, "select g, $2 /*gh:%s*/ from generate_series(1, $1::int) g", tag);
  snprintf(value, sizeof value, "%d", rows);
  const char* values[2] = {value, rows % 2 == 0 ? "it's a 'quoted', value" : NULL};
  must(PQsendQueryParams(conn, text, 2, NULL, values, NULL, NULL, 0), conn, "send");
}

static void send_failing(PGconn* conn, const char* tag) {
  char text[kTextBytesMax];
  snprintf(text, sizeof text, "select 1 / $1::int /*gh:%s*/", tag);
  const char* values[1] = {"0"};
  must(PQsendQueryParams(conn, text, 1, NULL, values, NULL, NULL, 0), conn, "send failing");
}

// Takes the results of one statement and tells what they were.
static void take(PGconn* conn, const char* tag) {
  PGresult* result = PQgetResult(conn);
  must(result != NULL, conn, "result");
  switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK: report(tag, PQntuples(result), ""); break;
    case PGRES_FATAL_ERROR: report(tag, -1, PQresultErrorField(result, PG_DIAG_SQLSTATE)); break;
    case PGRES_PIPELINE_ABORTED: report(tag, -1, "skipped"); break;
    default: must(0, conn, PQresStatus(PQresultStatus(result)));
  }
  PQclear(result);
  must(PQgetResult(conn) == NULL, conn, "end of results");
}

static void take_sync(PGconn* conn) {
  PGresult* result = PQgetResult(conn);
  must(PQresultStatus(result) == PGRES_PIPELINE_SYNC, conn, "sync");
  PQclear(result);
}

// Seven statements, the fifth of which fails when asked to, then two more after the Sync.
static void pipeline_round(PGconn* conn, int fails) {
  Tag tags[9];
  for (int i = 0; i < 9; ++i) {
    tags[i] = new_tag();
    if (fails && i == 4) send_failing(conn, tags[i].text);
    else send_numbers(conn, tags[i].text, i);
    if (i == 6 || i == 8) must(PQpipelineSync(conn), conn, "sync");
  }
  for (int i = 0; i < 9; ++i) {
    take(conn, tags[i].text);
    if (i == 6 || i == 8) take_sync(conn);
  }
}

// One Parse, many Binds: the text went over the wire once only.
static void named_round(PGconn* conn, int round) {
  const Tag tag = new_tag();
  char name[32], text[kTextBytesMax];
  snprintf(name, sizeof name, "named_%d", round);
  snprintf(text, sizeof text, "select $1::int + 1 /*gh:%s*/", tag.text);
  must(PQsendPrepare(conn, name, text, 1, NULL), conn, "prepare");
  for (int i = 0; i < 5; ++i) {
    char value[16];
    snprintf(value, sizeof value, "%d", round * 100 + i);
    const char* values[1] = {value};
    must(PQsendQueryPrepared(conn, name, 1, values, NULL, NULL, i % 2), conn, "execute");
  }
  must(PQpipelineSync(conn), conn, "sync");
  PGresult* prepared = PQgetResult(conn);
  must(PQresultStatus(prepared) == PGRES_COMMAND_OK, conn, "prepared");
  PQclear(prepared);
  must(PQgetResult(conn) == NULL, conn, "end of prepare");
  for (int i = 0; i < 5; ++i) take(conn, tag.text);
  take_sync(conn);
}

static void plain(PGconn* conn, const char* text) {
  PGresult* result = PQexec(conn, text);
  must(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK, conn, text);
  PQclear(result);
}

static void large_object(PGconn* conn) {
  char buffer[4096];
  memset(buffer, 'x', sizeof buffer);
  plain(conn, "begin");
  const Oid object = lo_creat(conn, 0x20000 | 0x40000);
  const int fd = lo_open(conn, object, 0x20000 | 0x40000);
  must(fd >= 0, conn, "lo_open");
  must(lo_write(conn, fd, buffer, sizeof buffer) == sizeof buffer, conn, "lo_write");
  must(lo_close(conn, fd) == 0, conn, "lo_close");
  must(lo_unlink(conn, object) == 1, conn, "lo_unlink");
  plain(conn, "commit");
}

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  tag_prefix = argv[1];
  PGconn* conn = connect_or_exit();
  large_object(conn);
  plain(conn, "listen gh_channel");
  plain(conn, "notify gh_channel, 'hello'");
  must(PQenterPipelineMode(conn), conn, "pipeline mode");
  for (int round = 0; round < atoi(argv[2]); ++round) {
    pipeline_round(conn, round % 2);
    named_round(conn, round);
  }
  must(PQexitPipelineMode(conn), conn, "leave pipeline mode");
  PQfinish(conn);
  return 0;
}
