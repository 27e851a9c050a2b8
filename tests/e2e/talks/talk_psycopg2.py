# SPDX-License-Identifier: Apache-2.0
"""psycopg2's part of a talk. Prints all that it gets, but pids and times.

usage: talk_psycopg2.py STATEMENTS   (the connection comes from PG* variables)
"""

import io
import sys
import threading
import time

import psycopg2
import psycopg2.extras

FIELDS = ("severity_nonlocalized", "sqlstate", "message_primary", "message_detail", "message_hint",
          "statement_position", "context", "schema_name", "table_name", "column_name", "constraint_name",
          "source_function")


def show(conn, cursor=None):
    if cursor is not None:
        print("  ", cursor.statusmessage, cursor.rowcount, [(d.name, d.type_code) for d in cursor.description or ()])
        if cursor.description:
            for row in cursor:
                row = tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
                print("    ", repr(row) if len(repr(row)) < 500 else hash_of(row))
    for notice in conn.notices:
        print("   notice", repr(notice))
    conn.notices.clear()
    conn.poll()
    while conn.notifies:
        notify = conn.notifies.pop(0)
        print("   notification", notify.channel, notify.payload, notify.pid == conn.info.backend_pid)
    print("   state", conn.info.transaction_status)


def hash_of(row):
    return f"{len(repr(row))} characters, {sum(map(ord, repr(row)))}"


def run(conn, text, values=None):
    print("run", text[:200])
    try:
        with conn.cursor() as cursor:
            cursor.execute(text, values)
            show(conn, cursor)
    except psycopg2.Error as error:
        print("  ", type(error).__name__, {f: getattr(error.diag, f) for f in FIELDS if getattr(error.diag, f)})
        show(conn)


def copies(conn):
    with conn.cursor() as cursor:
        for data in ("1\tone\n2\t\\N\n", "x\tno number\n"):
            try:
                cursor.copy_expert("copy lines (a, b) from stdin", io.StringIO(data))
                print("copied", cursor.rowcount)
            except psycopg2.Error as error:
                print("copy failed", error.diag.message_primary, error.diag.context)
        out = io.StringIO()
        cursor.copy_expert("copy (select a, b from lines order by id) to stdout", out)
        print(out.getvalue())


def main():
    conn = psycopg2.connect("")
    conn.autocommit = True
    for text in open(sys.argv[1], encoding="utf-8").read().splitlines():
        run(conn, text)
    run(conn, "select %s, %s, %s, %s", ["it's", 3, None, b"\x00\xff"])
    run(conn, "select 1; select 2; select 3")
    run(conn, "select 1; select 1/0; select 3")
    copies(conn)
    with conn.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, "insert into journal (entry) values %s", [[f"v{n}"] for n in range(300)])
        psycopg2.extras.execute_batch(cursor, "insert into journal (entry) values (%s)", [[f"b{n}"] for n in range(99)])
    conn.autocommit = False
    run(conn, "select from nowhere")
    run(conn, "select 1")
    conn.rollback()
    with conn, conn.cursor(name="named") as cursor:
        cursor.itersize = 10
        cursor.execute("select g from generate_series(1, 45) g")
        print(list(cursor))
    large = conn.lobject(0, "w")
    large.write("large object")
    large.unlink()
    conn.commit()
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    run(conn, "insert into journal (entry) values ('read only')")
    conn.rollback()
    thread = threading.Thread(target=lambda: (time.sleep(0.1), conn.cancel()))
    thread.start()
    run(conn, "select pg_sleep(30)")
    thread.join()
    conn.rollback()
    conn.close()


main()
