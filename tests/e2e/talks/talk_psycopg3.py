# SPDX-License-Identifier: Apache-2.0
"""psycopg 3's part of a talk: server-side parameters, binary, prepared, pipelines. Prints all that it gets, but pids.

usage: talk_psycopg3.py STATEMENTS   (the connection comes from PG* variables)
"""

import sys
import threading
import time

import psycopg

FIELDS = ("severity_nonlocalized", "sqlstate", "message_primary", "message_detail", "message_hint",
          "statement_position", "context", "schema_name", "table_name", "column_name", "constraint_name",
          "source_function")


def short(value):
    text = repr(value)
    return text if len(text) < 500 else f"{len(text)} characters, {sum(map(ord, text))}"


def show(conn, cursor):
    while True:
        print("  ", cursor.statusmessage, cursor.rowcount, [(d.name, d.type_code) for d in cursor.description or ()])
        if cursor.description:
            for row in cursor.fetchall():
                print("    ", short(row))
        if not cursor.nextset():
            break
    print("   state", conn.info.transaction_status)


def run(conn, text, values=None, **options):
    print("run", text[:200])
    try:
        show(conn, conn.execute(text, values, **options))
    except psycopg.Error as error:
        print("  ", type(error).__name__, {f: getattr(error.diag, f) for f in FIELDS if getattr(error.diag, f)})
        print("   state", conn.info.transaction_status)


def pipelines(conn):
    for failing in (False, True):
        try:
            with conn.pipeline() as pipeline:
                cursors = [conn.execute("select %s::int + g from generate_series(1, 4) g", [n]) for n in range(5)]
                if failing:
                    conn.execute("select 1 / %s", [0])
                pipeline.sync()
                cursors += [conn.execute("select 'after the sync'")]
            for cursor in cursors:
                print("  piped", cursor.fetchall())
        except psycopg.Error as error:
            print("  pipeline", type(error).__name__, error.diag.message_primary)
        print("   state", conn.info.transaction_status)
    with conn.cursor() as cursor:
        cursor.executemany("insert into journal (entry) values (%s) returning entry", [[f"m{n}"] for n in range(50)],
                           returning=True)
        print(cursor.rowcount, cursor.fetchall())


def copies(conn):
    with conn.cursor() as cursor:
        with cursor.copy("copy lines (a, b) from stdin") as copy:
            for n in range(100):
                copy.write_row([n, f"row {n}\t"])
        print("copied", cursor.rowcount)
        with cursor.copy("copy lines (a, b) from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row([1, "binary"])
        for query, data in (("copy lines (a) from stdin", "no number\n"), ("copy nowhere from stdin", "")):
            try:
                with cursor.copy(query) as copy:
                    copy.write(data)
            except psycopg.Error as error:
                print("copy failed", error.diag.message_primary, error.diag.context)
        with cursor.copy("copy (select a, b from lines order by id) to stdout") as copy:
            print([bytes(part) for part in copy])


def main():
    conn = psycopg.connect("", autocommit=True)
    conn.add_notice_handler(lambda d: print("   notice", d.severity, d.sqlstate, d.message_primary, d.message_detail))
    conn.add_notify_handler(lambda n: print("   notify", n.channel, n.payload, n.pid == conn.info.backend_pid))
    print(conn.info.server_version, conn.info.parameter_status("server_encoding"))
    for text in open(sys.argv[1], encoding="utf-8").read().splitlines():
        run(conn, text)
    for binary in (False, True):
        for value in (1, 1 << 40, "text", None, 1.5, b"\x00", [1, None], True):
            run(conn, "select %s, %s", [value, value], binary=binary)
        for _ in range(7):
            run(conn, "select id, name from item where id <= %b", [3], prepare=True, binary=binary)
    run(conn, "select 1; select 2; select 1/0; select 3")
    pipelines(conn)
    copies(conn)
    with conn.transaction(), conn.cursor(name="named") as cursor:
        cursor.itersize = 30
        cursor.execute("select * from generate_series(1, 100) g")
        print(cursor.fetchmany(7), cursor.fetchall())
    try:
        with conn.transaction():
            run(conn, "insert into journal (entry) values ('rolled back')")
            with conn.transaction():
                conn.execute("select 1 / 0")
    except psycopg.Error as error:
        print("rolled back", error.diag.sqlstate)
    thread = threading.Thread(target=lambda: (time.sleep(0.1), conn.cancel()))
    thread.start()
    run(conn, "select pg_sleep(30)")
    thread.join()
    run(conn, "select pg_terminate_backend(pg_backend_pid())")
    print("closed", conn.closed)


main()
