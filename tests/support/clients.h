// SPDX-License-Identifier: Apache-2.0
// What the libpq test clients share: how they connect, fail, and tell the test what they know.
#pragma once

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

static inline void must(int holds, PGconn* conn, const char* what) {
  if (holds) return;
  fprintf(stderr, "%s: %s\n", what, PQerrorMessage(conn));
  exit(1);
}

// Everything about the connection comes from PGHOST, PGPORT, PGUSER, PGDATABASE and PGAPPNAME.
static inline PGconn* connect_or_exit(void) {
  PGconn* conn = PQconnectdb("");
  must(PQstatus(conn) == CONNECTION_OK, conn, "connect");
  return conn;
}

// One line of knowledge: the statement with this tag gave this many rows, or failed with this SQLSTATE.
static inline void report(const char* tag, int rows, const char* sqlstate) {
  printf("{\"tag\": \"%s\", \"rows\": %d, \"sqlstate\": \"%s\"}\n", tag, rows, sqlstate);
}
