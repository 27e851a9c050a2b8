# SPDX-License-Identifier: Apache-2.0
"""psycopg2: the simple protocol, several statements in one message, named cursors, COPY, large objects, NOTIFY,
a lost transaction, a session that the server ends.

usage: psycopg2_client.py TAG ROUNDS   (the connection comes from PG* variables)
"""

import io
import itertools
import json
import sys

import psycopg2
import psycopg2.extras

TAG, ROUNDS = sys.argv[1], int(sys.argv[2])
numbers = itertools.count()


def new_tag():
    return f"{TAG}.{next(numbers)}"


def run(cursor, text, values=None, knows_rows=True):
    tag = new_tag()
    try:
        cursor.execute(f"{text} /*gh:{tag}*/", values)
    except psycopg2.Error as error:
        if knows_rows:  # else the tag stands at the last of several commands, which may not be the one that failed
            print(json.dumps({"tag": tag, "rows": -1, "sqlstate": error.pgcode or ""}))
    else:
        if knows_rows:
            print(json.dumps({"tag": tag, "rows": cursor.rowcount, "sqlstate": ""}))


def one_round(conn):
    with conn.cursor() as cursor:
        run(cursor, "select %s, %s", ["it's", 3])
        run(cursor, "select generate_series(1, 25)")
        run(cursor, "select 1; select 2; select 3", knows_rows=False)
        run(cursor, "select 1; select 1/0; select 3", knows_rows=False)
        run(cursor, "prepare p(int) as select $1 + 1", knows_rows=False)
        run(cursor, "execute p(41)")
        run(cursor, "deallocate p", knows_rows=False)
        psycopg2.extras.execute_values(cursor, "insert into journal (entry) values %s", [[f"v{n}"] for n in range(50)])
        cursor.copy_expert(f"copy journal (entry) from stdin /*gh:{new_tag()}*/", io.StringIO("a\nb\nc\n"))
        cursor.copy_expert(f"copy item to stdout /*gh:{new_tag()}*/", io.StringIO())
        run(cursor, "select 'ünïcödé €' as \"sträñge\"")
        run(cursor, "notify gh_channel, 'psycopg2'", knows_rows=False)
        run(cursor, "", knows_rows=False)  # a comment alone
    conn.autocommit = False
    with conn, conn.cursor() as cursor:
        run(cursor, "select from nowhere")
        conn.rollback()
        large = conn.lobject(0, "w")
        large.write("large object")
        large.close()
        large.unlink()
    with conn, conn.cursor(name="server_side") as cursor:
        cursor.itersize = 10
        cursor.execute(f"select g from generate_series(1, 45) g /*gh:{new_tag()}*/")
        assert len(list(cursor)) == 45
    conn.autocommit = True


def main():
    conn = psycopg2.connect("")
    conn.autocommit = True
    for _ in range(ROUNDS):
        one_round(conn)
    conn.close()
    for _ in range(ROUNDS * 3):
        conn = psycopg2.connect("")
        run(conn.cursor(), "select 'reconnected'")
        conn.close()
    conn = psycopg2.connect("")
    conn.autocommit = True
    run(conn.cursor(), "select pg_terminate_backend(pg_backend_pid())")
    assert conn.closed


main()
