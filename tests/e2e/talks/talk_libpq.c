// SPDX-License-Identifier: Apache-2.0
// libpq's part of a talk: everything a result can hold, in both formats; pipelines, COPY, row by row, function calls,
// cancel. Prints all that it gets, but pids and times.
// usage: talk_libpq STATEMENTS   (the connection comes from PG* variables)
#include <libpq/libpq-fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/clients.h"

enum { kShownBytesMax = 160, kLineBytesMax = 4096 };

static PGconn* conn;

// A value as text with what is not printable in hex; a long one as its size and FNV-1a hash.
static void print_bytes(const char* bytes, int size) {
  if (size > kShownBytesMax) {
    uint64_t hash = 14695981039346656037U;
    for (int i = 0; i < size; ++i) hash = (hash ^ (uint8_t)bytes[i]) * 1099511628211U;
    printf("<%d bytes %016llx>", size, (unsigned long long)hash);
    return;
  }
  for (int i = 0; i < size; ++i) {
    if (bytes[i] >= ' ' && bytes[i] != '\\')
      putchar(bytes[i]);
    else
      printf("\\%02x", (uint8_t)bytes[i]);
  }
}

static void print_error(const PGresult* result) {
  static const struct {
    char name;
    int code;
  } kFields[] = {{'S', PG_DIAG_SEVERITY},         {'V', PG_DIAG_SEVERITY_NONLOCALIZED},
                 {'C', PG_DIAG_SQLSTATE},         {'M', PG_DIAG_MESSAGE_PRIMARY},
                 {'D', PG_DIAG_MESSAGE_DETAIL},   {'H', PG_DIAG_MESSAGE_HINT},
                 {'P', PG_DIAG_STATEMENT_POSITION}, {'p', PG_DIAG_INTERNAL_POSITION},
                 {'q', PG_DIAG_INTERNAL_QUERY},   {'W', PG_DIAG_CONTEXT},
                 {'s', PG_DIAG_SCHEMA_NAME},      {'t', PG_DIAG_TABLE_NAME},
                 {'c', PG_DIAG_COLUMN_NAME},      {'d', PG_DIAG_DATATYPE_NAME},
                 {'n', PG_DIAG_CONSTRAINT_NAME},  {'F', PG_DIAG_SOURCE_FILE},
                 {'L', PG_DIAG_SOURCE_LINE},      {'R', PG_DIAG_SOURCE_FUNCTION}};
  for (size_t i = 0; i < sizeof kFields / sizeof *kFields; ++i) {
    const char* value = PQresultErrorField(result, kFields[i].code);
    if (value != NULL) printf(" %c=%s", kFields[i].name, value);
  }
}

static void on_notice(void* unused, const PGresult* result) {
  (void)unused;
  printf("  notice");
  print_error(result);
  putchar('\n');
}

static void print_result(const PGresult* result) {
  const ExecStatusType status = PQresultStatus(result);
  printf("  %s tag=%s rows=%d", PQresStatus(status), PQcmdStatus((PGresult*)result), PQntuples(result));
  print_error(result);
  putchar('\n');
  for (int p = 0; p < PQnparams(result); ++p) printf("    param %u\n", PQparamtype(result, p));
  for (int f = 0; f < PQnfields(result); ++f)
    printf("    field %s type=%u mod=%d size=%d format=%d table=%d column=%d\n", PQfname(result, f), PQftype(result, f),
           PQfmod(result, f), PQfsize(result, f), PQfformat(result, f), PQftable(result, f) != 0,
           PQftablecol(result, f));
  for (int r = 0; r < PQntuples(result); ++r) {
    printf("    row");
    for (int f = 0; f < PQnfields(result); ++f) {
      printf(" [");
      if (PQgetisnull(result, r, f))
        printf("NULL");
      else
        print_bytes(PQgetvalue(result, r, f), PQgetlength(result, r, f));
      putchar(']');
    }
    putchar('\n');
  }
}

static void print_notifications(void) {
  PQconsumeInput(conn);
  for (PGnotify* n; (n = PQnotifies(conn)) != NULL; PQfreemem(n))
    printf("  notification %s '%s' %s\n", n->relname, n->extra, n->be_pid == PQbackendPID(conn) ? "mine" : "other");
}

static void copy_out(void) {
  char* line;
  int size;
  while ((size = PQgetCopyData(conn, &line, 0)) > 0) {
    printf("    copied [");
    print_bytes(line, size);
    printf("]\n");
    PQfreemem(line);
  }
  printf("    copy ends with %d\n", size);
}

static void copy_in(const char* const* lines, const char* failure) {
  for (; *lines != NULL; ++lines)
    printf("    put %d\n", PQputCopyData(conn, *lines, (int)strlen(*lines)));
  printf("    put end %d\n", PQputCopyEnd(conn, failure));
}

static const char* const kNoLines[] = {NULL};

// All results of what was sent, to the NULL that ends them.
static void take(const char* const* lines, const char* failure) {
  for (PGresult* result; (result = PQgetResult(conn)) != NULL; PQclear(result)) {
    print_result(result);
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COPY_OUT) copy_out();
    if (status == PGRES_COPY_IN) copy_in(lines, failure);
    if (status == PGRES_PIPELINE_SYNC || PQstatus(conn) == CONNECTION_BAD) {
      PQclear(result);
      break;
    }
  }
  print_notifications();
  printf("  state %d\n", PQtransactionStatus(conn));
}

static void simple(const char* text, const char* const* lines, const char* failure) {
  printf("simple %.200s\n", text);
  if (!PQsendQuery(conn, text)) printf("  not sent: %s", PQerrorMessage(conn));
  take(lines, failure);
}

static void extended(const char* text, int count, const char* const* values, int format) {
  printf("extended %.200s\n", text);
  if (!PQsendQueryParams(conn, text, count, NULL, values, NULL, NULL, format))
    printf("  not sent: %s", PQerrorMessage(conn));
  take(kNoLines, NULL);
}

static void statements(const char* path, void (*run)(const char* text)) {
  static char line[kLineBytesMax];
  FILE* file = fopen(path, "r");
  if (file == NULL) exit(1);
  while (fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "\n")] = 0;
    run(line);
  }
  fclose(file);
}

static void run_simple(const char* text) { simple(text, kNoLines, NULL); }
static void run_text(const char* text) { extended(text, 0, NULL, 0); }
static void run_binary(const char* text) { extended(text, 0, NULL, 1); }

static void prepared(void) {
  const char* values[] = {"4", "it's"};
  for (int format = 0; format < 2; ++format) {
    printf("prepared, format %d\n", format);
    PQsendPrepare(conn, format ? "binary" : "text", "select id, name, $2::text from item where id < $1 order by id", 2,
                  NULL);
    take(kNoLines, NULL);
    PQsendDescribePrepared(conn, format ? "binary" : "text");
    take(kNoLines, NULL);
    for (int i = 0; i < 3; ++i) {
      values[0] = i == 2 ? NULL : "4";
      PQsendQueryPrepared(conn, format ? "binary" : "text", 2, values, NULL, NULL, format);
      take(kNoLines, NULL);
    }
  }
  PQsendPrepare(conn, "text", "select 'the name is taken'", 0, NULL);
  take(kNoLines, NULL);
  PQsendPrepare(conn, "wrong", "selct", 0, NULL);
  take(kNoLines, NULL);
  PQsendQueryPrepared(conn, "no such", 0, NULL, NULL, NULL, 0);
  take(kNoLines, NULL);
  PQsendDescribePortal(conn, "no such");
  take(kNoLines, NULL);
  values[0] = "x";
  PQsendQueryPrepared(conn, "text", 2, values, NULL, NULL, 0);  // no number
  take(kNoLines, NULL);
  PQsendQueryPrepared(conn, "text", 1, values, NULL, NULL, 0);  // one too few
  take(kNoLines, NULL);
  simple("begin; declare mine cursor for select 1", kNoLines, NULL);
  PQsendDescribePortal(conn, "mine");
  take(kNoLines, NULL);
  simple("rollback; execute text(3, 'by SQL'); deallocate text", kNoLines, NULL);
  PQsendQueryPrepared(conn, "text", 2, values, NULL, NULL, 0);
  take(kNoLines, NULL);
}

static void pipeline(int failing, int flushed) {
  printf("pipeline failing=%d flushed=%d\n", failing, flushed);
  PQenterPipelineMode(conn);
  const char* number = "3";
  for (int i = 0; i < 6; ++i) {
    if (failing && i == 3)
      PQsendQueryParams(conn, "select 1 / 0", 0, NULL, NULL, NULL, NULL, 0);
    else
      PQsendQueryParams(conn, i % 2 ? "insert into journal (entry) values ('piped ' || $1::int) returning entry"
                                    : "select g from generate_series(1, $1::int) g",
                        1, NULL, &number, NULL, NULL, i % 3 == 0);
    if (flushed) PQsendFlushRequest(conn);
    if (flushed && i == 1) {  // answers in the middle, before any Sync
      PQflush(conn);
      take(kNoLines, NULL);
    }
  }
  PQpipelineSync(conn);
  PQsendPrepare(conn, failing ? "p1" : "p0", "select 'in its own sync'", 0, NULL);
  PQsendQueryPrepared(conn, failing ? "p1" : "p0", 0, NULL, NULL, NULL, 0);
  PQpipelineSync(conn);
  PQsendQueryParams(conn, "begin", 0, NULL, NULL, NULL, NULL, 0);
  PQsendQueryParams(conn, "select * from nowhere", 0, NULL, NULL, NULL, NULL, 0);
  PQpipelineSync(conn);
  PQsendQueryParams(conn, "select 'in a failed transaction'", 0, NULL, NULL, NULL, NULL, 0);
  PQpipelineSync(conn);
  PQsendQueryParams(conn, "rollback", 0, NULL, NULL, NULL, NULL, 0);
  PQpipelineSync(conn);
  for (int syncs = 0; syncs < 5;) {
    PGresult* result = PQgetResult(conn);
    if (result == NULL) continue;
    print_result(result);
    syncs += PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    if (PQstatus(conn) == CONNECTION_BAD) exit(1);
    PQclear(result);
  }
  printf("  left %d\n", PQexitPipelineMode(conn));
}

static void deep_pipeline(void) {
  printf("deep pipeline\n");
  PQenterPipelineMode(conn);
  PQsetnonblocking(conn, 1);
  int sent = 0, got = 0, rows = 0;
  while (got < 3000) {
    for (int burst = 0; burst < 200 && sent < 3000; ++burst, ++sent) {
      PQsendQueryParams(conn, "select repeat('r', 500)", 0, NULL, NULL, NULL, NULL, 0);
      if (sent == 2999) PQpipelineSync(conn);
    }
    PQflush(conn);
    if (sent < 3000) continue;
    PQsetnonblocking(conn, 0);
    PQflush(conn);
    for (PGresult* result; got < 3000; PQclear(result)) {
      result = PQgetResult(conn);
      if (result == NULL) continue;
      rows += PQntuples(result);
      ++got;
    }
  }
  while (PQresultStatus(PQgetResult(conn)) != PGRES_PIPELINE_SYNC) {
  }
  printf("  %d rows, left %d\n", rows, PQexitPipelineMode(conn));
}

static void copies(void) {
  const char* const rows[] = {"7\tseven\t\\\\x00ff\n", "8\t\\N", "\t\\N\n9\tni", "ne\t\\N\n", NULL};
  const char* const wrong[] = {"10\tten\t\\N\n", "eleven\t\\N\t\\N\n", "12\t\\N\t\\N\n", NULL};
  simple("copy lines (a, b, c) from stdin", rows, NULL);
  simple("copy lines (a, b, c) from stdin", wrong, NULL);
  simple("copy lines (a, b, c) from stdin", rows, "the client gives up");
  simple("copy lines (a, b, c) from stdin; select 'after a copy'; copy (select 1) to stdout; select 'and after'", rows,
         NULL);
  simple("copy (select a, b, c from lines order by id) to stdout with (format binary)", kNoLines, NULL);
  simple("copy (select g / (3 - g) from generate_series(1, 5) g) to stdout", kNoLines, NULL);
  printf("extended copy\n");
  PQsendQueryParams(conn, "copy lines (a, b, c) from stdin", 0, NULL, NULL, NULL, NULL, 0);
  take(rows, NULL);
  PQsendQueryParams(conn, "copy lines (a, b, c) from stdin", 0, NULL, NULL, NULL, NULL, 0);
  take(wrong, NULL);
  PQsendQueryParams(conn, "copy (select a, b from lines order by id) to stdout", 0, NULL, NULL, NULL, NULL, 0);
  take(kNoLines, NULL);
}

static void row_by_row(void) {
  printf("row by row\n");
  PQsendQuery(conn, "select g / (500 - g) from generate_series(1, 600) g");
  PQsetSingleRowMode(conn);
  int rows = 0;
  for (PGresult* result; (result = PQgetResult(conn)) != NULL; PQclear(result)) {
    if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
      ++rows;
    else
      print_result(result);
  }
  printf("  %d rows\n", rows);
}

static void function_calls(void) {
  PQclear(PQexec(conn, "begin"));
  const Oid oid = lo_creat(conn, INV_READ | INV_WRITE);
  const int fd = lo_open(conn, oid, INV_READ | INV_WRITE);
  char buffer[100] = "";
  printf("function calls\n  fd %d wrote %d seek %d read", fd, lo_write(conn, fd, "a large object", 14),
         lo_lseek(conn, fd, 2, SEEK_SET));
  printf(" %d", lo_read(conn, fd, buffer, sizeof buffer));
  printf(" '%s' closed %d unlinked %d\n", buffer, lo_close(conn, fd), lo_unlink(conn, oid));
  printf("  no such: %d\n", lo_open(conn, 1, INV_READ));
  PQclear(PQexec(conn, "rollback"));
  int value = 0, size = 0;
  const PQArgBlock argument = {.len = 4, .isint = 1, .u.integer = -42};
  PGresult* result = PQfn(conn, 1397, &value, &size, 1, &argument, 1);  // int4abs
  printf("  PQfn %d %d\n", value, size);
  print_result(result);
  PQclear(result);
  result = PQfn(conn, 1, &value, &size, 1, &argument, 0);  // no such function
  print_result(result);
  PQclear(result);
}

static void cancelled(void) {
  printf("cancel\n");
  PGcancel* cancel = PQgetCancel(conn);
  char error[256] = "";
  PQsendQuery(conn, "select pg_sleep(30)");
  PQflush(conn);
  usleep(100000);
  printf("  sent %d %s\n", PQcancel(cancel, error, sizeof error), error);
  take(kNoLines, NULL);
  PQfreeCancel(cancel);
}

static void sized(int bytes) {
  static const char kHead[] = "select length('", kTail[] = "')";
  char* text = malloc((size_t)bytes + sizeof kHead + sizeof kTail);
  memcpy(text, kHead, sizeof kHead - 1);
  memset(text + sizeof kHead - 1, 'v', (size_t)bytes);
  memcpy(text + sizeof kHead - 1 + bytes, kTail, sizeof kTail);
  simple(text, kNoLines, NULL);
  const char* value = text;
  extended("select length($1::text), $1::text", 1, &value, 0);
  free(text);
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  conn = PQconnectdb("application_name=talk");
  if (argc != 2 || PQstatus(conn) != CONNECTION_OK) {
    printf("no connection: %s", PQerrorMessage(conn));
    return 1;
  }
  PQsetNoticeReceiver(conn, on_notice, NULL);
  printf("server %d protocol %d ssl %d\n", PQserverVersion(conn), PQprotocolVersion(conn), 0);
  statements(argv[1], run_simple);
  statements(argv[1], run_text);
  statements(argv[1], run_binary);
  simple("select 1; select 2, 'b'; insert into journal (entry) values ('third'); select 4", kNoLines, NULL);
  simple("select 1; select 1 / 0; select 'not run'", kNoLines, NULL);
  simple("select 1;; ;select 2;", kNoLines, NULL);
  simple("begin; select 1", kNoLines, NULL);
  simple("selct", kNoLines, NULL);
  simple("commit; select 'a new one'", kNoLines, NULL);
  prepared();
  pipeline(0, 0);
  pipeline(1, 0);
  pipeline(0, 1);
  pipeline(1, 1);
  deep_pipeline();
  copies();
  row_by_row();
  function_calls();
  cancelled();
  sized(100);
  sized(70000);
  sized(3000000);
  simple("select pg_terminate_backend(pg_backend_pid())", kNoLines, NULL);
  printf("connection %d\n", PQstatus(conn));
  PQfinish(conn);
  return 0;
}
