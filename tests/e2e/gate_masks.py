# SPDX-License-Identifier: Apache-2.0
"""Masks that hold: whatever is asked, and however, no value of a masked column nor an image that can be turned back
into it reaches the client; what is not masked comes unchanged.

The oracle is the value itself: each masked value is a random word that stands nowhere else, and all bytes that the
client gets are searched for it, its reverse, its encodings and its pieces. The reference is the same query on a direct
session.
"""

import base64
import codecs
import hashlib
import itertools
import random
import re
import string

import psycopg

from tests.e2e.context import require

ROWS = 12
# So much of a word in one place is taken for it; of digits, which hashes are made of, more.
PIECE, DIGITS_PIECE = 5, 8

RULES = """
masks:
  - id: contact
    columns: [public.customers.email]
    method: partial
    mode: active
  - id: numbers
    columns: ["*.customers.card", "*.customers.birth"]
    method: redact
    mode: active
  - id: names
    columns: [public.customers.name]
    method: hash
    unless: session.user == "trusted"
    mode: active
  - id: later
    columns: [public.customers.city]
    method: "null"
    mode: dry-run
rules:
  - id: few-rows
    on: statement
    when: |
      "many" in statement.reads
    then: alert
    limit: {rows: 1000}
    mode: active
    severity: medium
    message: Ask for less.
"""

SETUP = """
create table customers (id int primary key, name text, email text, card text, birth date, city text, note varchar(40));
create table orders (id int primary key, customer int, total numeric, placed timestamptz);
create table many (id int, pad text);
insert into many select g, repeat('x', 50) from generate_series(1, 20000) g;
create view contacts as select id, email as address, city from customers;
create view deep as select address, upper(address) as loud from contacts;
create materialized view stored as select id, name, email from customers;
create function address_of(int) returns text language sql stable as 'select email from customers where id = $1';
create function plain_address(i int) returns text language plpgsql stable as
  $$ begin return (select email from customers where id = i); end $$;
create function all_customers() returns setof customers language sql stable as 'select * from customers';
create function doubled(text) returns text language plpgsql immutable as $$ begin return $1 || $1; end $$;
create function computed(text) returns text language plpgsql stable as
  $$ declare r text; begin execute 'select ' || $1 || ' from customers where id = 1' into r; return r; end $$;
create role trusted superuser login;
"""

MASKED = ("name", "email", "card")


def _word(rng):
    return "".join(rng.choice("ghjkmnpqrstvwxz") for _ in range(14))


class Values:
    """What is in the table, and how to find it again."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.rows = []
        for i in range(1, ROWS + 1):
            name, mail, card = _word(rng), _word(rng), "".join(rng.choice(string.digits) for _ in range(16))
            self.rows.append((i, name.capitalize(), f"{mail}@{_word(rng)}.example", card, f"19{i + 40}-03-{i + 10}",
                              f"City {i % 3}", f"note {i}"))
        self.images = {}
        for row in self.rows:
            # The dot, the at sign and what is behind them are what `partial` shows.
            for text in (row[1], row[2].split("@")[0], row[2].split("@")[1].split(".")[0], row[3]):
                self._add(text)
            self._add_whole(row[2])
            self._add_whole(row[1])

    def _add(self, text):
        for form in (text.lower(), text.lower()[::-1], codecs.encode(text.lower(), "rot13")):
            size = DIGITS_PIECE if form.isdigit() else PIECE
            for i in range(len(form) - size + 1):
                self.images[form[i:i + size].encode()] = text
        for form in (text, text.upper(), text.lower(), text[::-1]):
            hexadecimal = form.encode().hex()
            for i in range(0, len(hexadecimal) - 12 + 1, 2):
                self.images[hexadecimal[i:i + 12].encode()] = text
            for cut in range(3):
                encoded = base64.b64encode(form.encode()[cut:])
                if len(encoded) > 10:
                    self.images[encoded[:8].lower()] = text

    def _add_whole(self, text):
        for form in (text, text.lower(), text.upper()):
            for digest in (hashlib.md5, hashlib.sha256):
                self.images[digest(form.encode()).hexdigest()[:12].encode()] = text

    def found_in(self, data):
        """Images in the bytes; also letter by letter over several values."""
        lower = bytes(data).lower()
        pieces = re.sub(rb"[^a-z0-9]", b"", lower)
        return sorted({(image.decode(), text) for image, text in self.images.items()
                       if image in lower or (len(image) in (PIECE, DIGITS_PIECE) and image in pieces)})


COLUMN_FORMS = (
    "{c}", "{c} as x", "upper({c})", "reverse({c})", "{c} || ''", "'<' || {c} || '>'", "substr({c}, 2, 8)",
    "left({c}, 9)", "encode({c}::bytea, 'hex')", "encode(convert_to({c}, 'UTF8'), 'base64')", "md5({c})",
    "translate({c}, 'abcdefghijklmnopqrstuvwxyz', 'nopqrstuvwxyzabcdefghijklm')", "{c}::varchar(30)", "{c}::char(40)",
    "{c}::name", "to_json({c})", "row_to_json(c)", "c", "c::text", "row(c.id, {c})", "(c).email", "array[{c}, 'x']",
    "coalesce({c}, 'none')", "nullif({c}, '')", "case when true then {c} else 'x' end", "greatest({c}, '')",
    "(select {c})", "(select z from (select {c} as z) q)", "quote_literal({c})", "format('%s', {c})", "concat({c}, 1)",
    "overlay({c} placing 'X' from 1 for 1)", "regexp_replace({c}, '(.)', '\\1')", "split_part({c}, '@', 1)",
    "to_tsvector('simple', {c})", "xmlelement(name e, {c})", "doubled({c})", "string_to_array({c}, null)",
    "jsonb_build_object('k', {c})", "lower({c}) collate \"C\"", "decode(encode({c}::bytea,'escape'),'escape')",
    "initcap({c})", "rpad({c}, 50, '*')", "ascii({c})", "{c}::bytea", "sha256({c}::bytea)",
)
AGGREGATES = (
    "string_agg({c}, ',')", "array_agg({c})", "json_agg(c)", "jsonb_object_agg(c.id, {c})", "min({c})", "max({c})",
    "json_agg({c}) filter (where c.id < 4)", "xmlagg(xmlelement(name e, {c}))", "mode() within group (order by {c})",
    "percentile_disc(0.5) within group (order by {c})", "(array_agg({c}))[1]", "string_agg(left({c}, 8), '')",
)
SOURCES = (
    "customers c", "only customers c", "(select * from customers) c", "(table customers) c",
    "customers c join orders o on o.customer = c.id", "orders o left join customers c on o.customer = c.id",
    "(select * from customers offset 0) c", "lateral (select * from customers) c", "all_customers() c",
    "(select * from customers union all select * from customers where false) c",
)
WHOLE = (
    "select * from customers", "table customers", "select c.* from customers c", "select distinct email from customers",
    "with w as (select * from customers) select * from w",
    "with recursive w as (select id, email from customers where id = 1 union all "
    "select c.id, c.email from customers c join w on c.id = w.id + 1) select * from w",
    "select email from customers union select city from customers", "select city from customers union all "
    "select email from customers", "select city from customers except select '' union select name from customers",
    "select * from contacts", "select * from deep", "select address || 'x' from contacts", "select * from stored",
    "select stored from stored", "select address_of(3)", "select plain_address(3)", "select * from all_customers()",
    "select (all_customers()).*", "select email(c) from customers c", "select computed('email')",
    "values ((select email from customers where id = 2))", "select (values ((select email from customers limit 1)))",
    "update customers set note = note where id = 1 returning *", "update customers set note = 'n' returning email",
    "delete from customers where false returning *", "explain analyze select * from customers where email like 'b%'",
    "select x from customers, unnest(array[email, name]) x", "select regexp_split_to_table(email, '') from customers",
    "select substr(email, g, 1) from customers, generate_series(1, 14) g where id = 1 order by g",
    "select ascii(substr(email, g, 1)) from customers, generate_series(1, 14) g where id = 1 order by g",
    "select query_to_xml('select * from customers', true, false, '')",
    "select table_to_xml('customers', true, false, '')",
    "select database_to_xml(true, false, '')", "select * from json_each_text((select row_to_json(c) from customers c "
    "limit 1))",
    "select * from json_populate_record(null::customers, (select row_to_json(c) from customers c limit 1))",
    "select most_common_vals, histogram_bounds from pg_stats where tablename = 'customers'",
    "select histogram_bounds::text from pg_stats", "select stavalues1::text from pg_statistic",
    "select email::int from customers", "select 1 / (length(email) - length(email)) from customers",
    "select set_config('my.x', email, false) from customers where id = 1", "select current_setting('my.x', true)",
    "select pg_notify('c', email) from customers", "select lo_from_bytea(0, email::bytea) from customers",
    "create table copied as select * from customers", "select * into copied2 from customers",
    "insert into orders select 1000 + id, id, 1, now() from customers returning (select email from customers limit 1)",
    "create temp table t as select email from customers", "create view leak as select email as e from customers",
    "select e from leak", "prepare p as select email from customers", "execute p", "begin", "declare d cursor for "
    "select email, name from customers", "fetch 3 from d", "fetch all from d", "declare b binary cursor for select "
    "email from customers", "fetch all from b", "move 1 in b", "commit",
    "do $$ begin raise notice '%', (select email from customers limit 1); end $$",
    "do $$ begin raise exception '%', (select email from customers limit 1); end $$",
    "insert into customers select * from customers limit 1", "select count(*) from customers group by email",
    "select lag(email) over (order by id) from customers", "select first_value(name) over () from customers",
    "select array(select email from customers)", "select exists(select email from customers)",
    "select xmlforest(email, name) from customers", "select row(email).f1 from customers",
    "select ((c).email)::text from customers c", "select t.e from (select c.email, c.name from customers c) t(e, n)",
    "merge into orders o using customers c on o.id = c.id when matched then update set total = 1",
    "begin", "create or replace function doubled(text) returns text language sql as 'select email from customers'",
    "select doubled('x')", "commit", "select doubled('y')", "create or replace view deep as select city as address, "
    "email as loud from customers", "select loud from deep", "alter table customers rename column note to email2",
    "alter table customers rename column email to note2", "select note2 from customers", "select * from customers",
    "alter table customers rename column note2 to email", "alter table customers rename column email2 to note",
    "create rule also as on update to many do also select email from customers",
    "update many set pad = 'y' where id = 1",
    "drop rule also on many",
    "select c from customers c; select email from customers; select 1", "select email from customers \\; select name",
    "lock customers", "copy customers to stdout", "copy customers (id, email) to stdout with (format csv, header)",
    "copy customers to stdout with (format binary)", "copy (select upper(email), id from customers) to stdout",
    "copy (select c from customers c) to stdout with (format csv)", "copy (delete from customers where id = 99 "
    "returning *) to stdout", "copy customers to '/tmp/gatehouse-leak'", "copy customers to program 'cat > /dev/null'",
)
BENIGN = (
    "select id, city, note from customers order by id", "select count(*) from customers", "select count(email) from "
    "customers", "select id, city from customers where email is not null order by id", "select * from orders",
    "select o.*, c.city from orders o join customers c on c.id = o.customer order by 1", "select 1, 'x', now() - now()",
    "select city, count(*) from customers group by city order by 1", "select id from contacts order by id",
    "select sum(total), max(id) from orders", "select relname from pg_class where relname = 'customers'",
    "select generate_series(1, 5)", "insert into orders values (500, 1, 2.5, '2020-01-01') returning *",
    "update orders set total = total where id = 500 returning id, total",
    "delete from orders where id = 500 returning *",
    "copy (select id, city from customers order by id) to stdout", "select id, city from customers where id = 3",
    "explain (costs off) select city from customers", "show search_path", "select current_user, version()",
    "select array_agg(id order by id), json_agg(city order by id) from customers",
    "select birth is null from customers",
    "begin; select id from customers order by id; commit", "select id, address is null from contacts order by 1",
)


def generated(seed, count):
    """Queries that compose what is above, none twice."""
    rng = random.Random(seed)
    made = set()
    everything = itertools.product(COLUMN_FORMS, SOURCES, MASKED)
    for form, source, column in everything:
        made.add(f"select {form.format(c='c.' + column)} from {source}")
    for form, source, column in itertools.product(AGGREGATES, SOURCES, MASKED):
        made.add(f"select {form.format(c='c.' + column)} from {source}")
    for form, inner in itertools.product(COLUMN_FORMS[:30], COLUMN_FORMS[:12]):
        if "c." not in form and "{c}" in form:
            made.add(f"select {form.format(c='q.x')} from (select {inner.format(c='c.email')} as x from customers c) q")
    made = sorted(made)
    rng.shuffle(made)
    return list(WHOLE) + made[:count]


class Client:
    """A session that keeps all that it gets. Errors are results."""

    def __init__(self, port, binary, user="postgres", host="127.0.0.1"):
        self.connection = psycopg.connect(host=host, port=port, user=user, dbname="talk", autocommit=True,
                                          sslmode="disable")
        self.binary = binary
        self.notices = []
        self.connection.add_notice_handler(lambda d: self.notices.append(
            " ".join(filter(None, (d.message_primary, d.message_detail, d.context)))))

    def run(self, sql):
        """(what it got as bytes, its error's SQLSTATE or None)"""
        self.notices.clear()
        got, error = [], None
        try:
            pg = self.connection.pgconn
            results = [pg.exec_params(sql.encode(), [], result_format=1)] if self.binary else [pg.exec_(sql.encode())]
            for result in results:
                got.append(self._all(result))
                if result.error_message:
                    got.append(result.error_message)
                    state = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
                    error = state.decode() if state else "?"
                if result.status in (psycopg.pq.ExecStatus.COPY_OUT,):
                    got.append(self._copy(pg))
        except psycopg.Error as failed:
            got.append(str(failed).encode())
            error = failed.sqlstate or "lost"
        got += [n.encode() for n in self.notices]
        return b"\n".join(g if isinstance(g, bytes) else bytes(g) for g in got), error

    def _all(self, result):
        values = []
        for row in range(result.ntuples):
            values.append(b"|".join(result.get_value(row, column) or b"" for column in range(result.nfields)))
        return b"\n".join(values)

    def _copy(self, pg):
        got = []
        while True:
            size, data = pg.get_copy_data(0)
            if size <= 0:
                break
            got.append(bytes(data))
        while (result := pg.get_result()) is not None:
            if result.error_message:
                got.append(result.error_message)
        return b"".join(got)

    def close(self):
        self.connection.close()


def fill(server, values):
    server.psql("create database talk")
    server.psql(SETUP, database="talk")
    for row in values.rows:
        server.psql("insert into customers values (%d, '%s', '%s', '%s', '%s', '%s', '%s')" % row, database="talk")
    server.psql("insert into orders select id, id, id * 1.5, '2024-01-01' from customers; analyze; "
                "refresh materialized view stored", database="talk")


def self_test(port, host, values, seed, count):
    """Asked directly, most of them show it: the oracle has eyes."""
    client = Client(port, False, host=host)
    client.connection.autocommit = True
    reads = ("select", "with", "table", "copy customers to stdout")
    queries = [q for q in generated(seed, count)
               if q.startswith(reads) and " into " not in q and "lo_from" not in q]
    shown = sum(bool(values.found_in(client.run(sql)[0])) for sql in queries)
    client.close()
    require(shown > 0.7 * len(queries), f"only {shown} of {len(queries)} queries show anything without a mask")
    print(f"    masks: without the shim {shown} of {len(queries)} queries show a masked value")


def evasions(port, values, seed, count):
    """Every query, in text and in binary: nothing shows."""
    leaks, asked, refused, failed, lost = [], 0, 0, 0, 0
    for binary in (False, True):
        client = Client(port, binary)
        for sql in generated(seed, count):
            got, error = client.run(sql)
            asked += 1
            refused += error == "42501"
            failed += error not in (None, "42501")
            found = values.found_in(got)
            if found:
                leaks.append((("binary" if binary else "text"), sql, found[:2], got[:120]))
            if client.connection.pgconn.status != psycopg.pq.ConnStatus.OK:
                lost += 1
                client = Client(port, binary)
        client.close()
    require(not leaks, f"{len(leaks)} of {asked} queries show what is masked: " + "; ".join(map(str, leaks[:8])))
    print(f"    masks: {asked} queries, none shows a masked value; {refused} refused, "
          f"{failed} failed, {lost} sessions ended")


def planned(port, values):
    """What a server computes while it only plans, or at the end of a transaction, tells nothing either."""
    with psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="talk", autocommit=True,
                         sslmode="disable") as connection:
        pg = connection.pgconn
        for sql in ("select 1 from orders where id = (plain_address(3))::int", "select 1 from orders where id = $1 and "
                    "total > (plain_address(2))::numeric"):
            pg.prepare(b"", sql.encode())
            result = pg.exec_prepared(b"", [b"1"] if "$1" in sql else [])
            require(result.error_message, "it does not fail")
            require(not values.found_in(result.error_message), result.error_message)
            require(b"masked" in result.error_message, result.error_message)
        result = pg.exec_params(b"select $1::int", [b"x"])
        require(b"22P02" in (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b""), "no error")


def benign(port, direct_host):
    """What touches no masked column comes as it is."""
    harmed = []
    for binary in (False, True):
        answers = []
        for host in (direct_host, "127.0.0.1"):
            client = Client(port, binary, host=host)
            answers.append([client.run(sql) for sql in BENIGN])
            client.close()
        harmed += [each for each in zip(BENIGN, *answers) if each[1] != each[2]]
    require(not harmed, f"{len(harmed)} of {2 * len(BENIGN)} harmless answers were changed: {harmed[:4]}")
    print(f"    masks: {2 * len(BENIGN)} harmless answers unchanged")
