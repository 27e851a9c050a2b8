# SPDX-License-Identifier: Apache-2.0
"""psycopg 3: server-side prepared and binary parameters, pipelines, COPY, named cursors, LISTEN, cancel, errors.

usage: psycopg3_client.py TAG ROUNDS   (the connection comes from PG* variables)
"""

import itertools
import json
import sys
import threading
import time

import psycopg

TAG, ROUNDS = sys.argv[1], int(sys.argv[2])
numbers = itertools.count()


def new_tag():
    return f"{TAG}.{next(numbers)}"


def report(tag, rows=-1, sqlstate=""):
    print(json.dumps({"tag": tag, "rows": rows, "sqlstate": sqlstate}))


def failing(conn, text, parameters=None):
    tag = new_tag()
    try:
        conn.execute(f"{text} /*gh:{tag}*/", parameters)
    except psycopg.Error as error:
        report(tag, sqlstate=error.sqlstate)
    else:
        raise AssertionError(f"{text} did not fail")


def queries(conn):
    tag = new_tag()
    for limit in range(4):  # the same text: prepared on the server from its second use
        cursor = conn.execute(f"select id, name /*gh:{tag}*/ from item where id <= %s", [limit], prepare=True)
        report(tag, cursor.rowcount)
    tag = new_tag()
    cursor = conn.execute(f"select %b::int8, %b::text, %s::text /*gh:{tag}*/", [1 << 40, "binary", None])
    report(tag, cursor.rowcount)
    tag = new_tag()
    cursor = conn.execute(f"update item set name = %s /*gh:{tag}*/ where id > 3", ["it's 'new'\nline"])
    report(tag, cursor.rowcount)


def copies(conn):
    with conn.cursor() as cursor:
        with cursor.copy(f"copy journal (entry) from stdin /*gh:{new_tag()}*/") as copy:
            for n in range(200):
                copy.write_row([f"row {n}"])
        with cursor.copy(f"copy (select * from journal limit 100) to stdout /*gh:{new_tag()}*/") as copy:
            for _ in copy:
                pass
        try:
            with cursor.copy(f"copy item (id) from stdin /*gh:{new_tag()}*/") as copy:
                copy.write("not a number\n")
        except psycopg.errors.InvalidTextRepresentation:
            pass


def cursors(conn):
    with conn.transaction(), conn.cursor(name="named") as cursor:
        cursor.itersize = 30
        cursor.execute(f"select * from generate_series(1, 100) g /*gh:{new_tag()}*/")
        assert len(cursor.fetchall()) == 100


def pipelines(conn):
    with conn.pipeline():
        for n in range(10):
            conn.execute(f"insert into journal (entry) values (%s) /*gh:{new_tag()}*/", [f"pipelined {n}"])
    try:
        with conn.pipeline():
            conn.execute(f"select 1 /*gh:{new_tag()}*/")
            conn.execute(f"select 1 / %s /*gh:{new_tag()}*/", [0])
            conn.execute(f"select 2 /*gh:{new_tag()}*/")
    except psycopg.errors.DivisionByZero:
        pass


def cancels(conn):
    timer = threading.Timer(0.3, conn.cancel)
    timer.start()
    failing(conn, "select pg_sleep(30)")
    timer.join()


def errors(conn):
    failing(conn, "select 1 / 0")
    failing(conn, "select * from nowhere")
    failing(conn, "selct 1")
    failing(conn, "select %s::int", ["not a number"])
    with conn.transaction(force_rollback=True):
        conn.execute(f"insert into item values (100, 'x') /*gh:{new_tag()}*/")
        try:
            with conn.transaction():
                failing(conn, "insert into item values (1, 'duplicate')")
                failing(conn, "select 1")  # 25P02
                raise psycopg.Rollback()
        except psycopg.Rollback:
            pass


def main():
    with psycopg.connect("", autocommit=True, prepare_threshold=1) as conn:
        conn.execute("listen gh_channel")
        for _ in range(ROUNDS):
            queries(conn)
            copies(conn)
            cursors(conn)
            pipelines(conn)
            errors(conn)
            conn.execute("notify gh_channel, 'from psycopg'")
        cancels(conn)
    for _ in range(ROUNDS * 3):
        with psycopg.connect("", autocommit=True) as conn:
            conn.execute(f"select 'reconnected' /*gh:{new_tag()}*/")
    time.sleep(0)


main()
