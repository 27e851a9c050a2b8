// SPDX-License-Identifier: Apache-2.0
// One connection, many processes: the parent connects; each forked child writes a query of its own on the same socket,
// in turn. A statement belongs to the process that wrote it, so each one says in its tag which that is.
// usage: share_socket TAG CHILDREN
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/clients.h"

static void run(PGconn* conn, const char* tag, int number) {
  char text[256], full_tag[128];
  snprintf(full_tag, sizeof full_tag, "%s.%d", tag, number);
  snprintf(text, sizeof text, "select pg_backend_pid() /*gh:%s pid:%d*/", full_tag, getpid());
  PGresult* result = PQexec(conn, text);
  must(PQresultStatus(result) == PGRES_TUPLES_OK, conn, "query");
  report(full_tag, PQntuples(result), "");
  fflush(stdout);
  PQclear(result);
}

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  PGconn* conn = connect_or_exit();
  int number = 0;
  for (int child = 0; child < atoi(argv[2]); ++child) {
    run(conn, argv[1], number++);
    const pid_t pid = fork();
    if (pid == 0) {
      run(conn, argv[1], number);
      _exit(0);  // the socket stays with the parent: no Terminate is sent
    }
    ++number;
    int status = 0;
    must(waitpid(pid, &status, 0) == pid && status == 0, conn, "child");
  }
  PQfinish(conn);
  return 0;
}
