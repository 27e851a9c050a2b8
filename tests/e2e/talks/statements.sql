select 1::int2, 2::int4, 3::int8, 1.5::float4, 'NaN'::float8, 123.4500::numeric, true, 'text', E'a\nb\t\\', '\x00ff10'::bytea
select date '2024-02-29', timestamptz '2024-01-02 03:04:05.678+00', timestamp 'infinity', time '12:34:56', interval '1 mon 2 days 03:04:05'
select '6f1f1f0e-0000-4000-8000-000000000001'::uuid, '{"a": [1, null, "x"]}'::json, '{"b": 1, "a": 2}'::jsonb
select array[1, null, 3], array['a', null, 'b,c', '"'], '{{1,2},{3,4}}'::int[]
select 'happy'::mood, point '(1,2)', inet '10.0.0.1/8', macaddr '08:00:2b:01:02:03', b'1011', int4range(1, 5)
select null::int as n, null::text as t, '' as empty, 'ünïcödé € 𝄞' as "sträñge name"
select from generate_series(1, 3)
select * from item where false
select * from item order by id
select selct
selct 1
select 1 / 0
select * from nowhere
insert into item values (1, 'again')
insert into item values (100, null)
insert into item values (-1, 'negative')
insert into part values (1, 4711)
select 'abc'::int
do $$ begin raise exception 'mine' using errcode = 'GH001', detail = 'the detail', hint = 'the hint', column = 'c', table = 't', schema = 's', constraint = 'k', datatype = 'd'; end $$
do $$ begin raise notice 'one %', 1; raise warning 'two'; raise info 'three'; raise debug 'not seen'; raise notice 'four' using detail = 'd', hint = 'h'; end $$
drop table if exists never_was
set client_min_messages = debug1
do $$ begin raise debug 'seen now'; end $$
reset client_min_messages

-- a comment alone
insert into journal (entry) values ('one'), ('two') returning id, entry
update journal set entry = upper(entry) where id = 1 returning *
delete from journal where id = 2
begin
insert into journal (entry) values ('in a transaction')
savepoint s
select 1 / 0
select 'refused: the transaction has failed'
rollback to savepoint s
select count(*) from journal
release savepoint s
commit
begin
select * from nowhere
commit
begin
begin
rollback
rollback
begin isolation level serializable read only
insert into journal (entry) values ('read only')
rollback
begin
declare c scroll cursor for select * from generate_series(1, 50) g
fetch 3 from c
move 10 in c
fetch backward 2 from c
fetch all from c
close c
fetch 1 from c
rollback
declare held cursor with hold for select * from item order by id
fetch 2 from held
close held
prepare q(int, text) as select $1 + 1, $2 || '!'
execute q(41, 'a''b')
execute q(null, null)
execute q(1)
deallocate q
execute q(1, 'gone')
explain (costs off) select * from item where id = 3
explain (costs off, analyze, timing off, summary off) select 1
create temp table scratch (a int primary key, b text default 'd')
insert into scratch select g, repeat('y', g) from generate_series(1, 20) g
select sum(a), max(length(b)) from scratch
truncate scratch
drop table scratch
create temp table scratch as select 1 as one
select * from pairs(3)
select notices(2)
call twice()
select nested(7)
select * from view_of_items
with w as (insert into journal (entry) values ('cte') returning entry) select * from w
show application_name
set application_name = 'talk renamed'
show application_name
set search_path = other, public
select * from placed
reset search_path
select * from placed
set local work_mem = '1MB'
set standard_conforming_strings = off
select 'back\\slash'
set standard_conforming_strings = on
select 'back\\slash'
set timezone = 'Asia/Tokyo'
select timestamptz '2024-01-02 03:04:05+00'
set datestyle = 'German, DMY'
select date '2024-12-31'
reset datestyle
reset timezone
set nonsense.value = 'x'
show nonsense.value
set no_such_setting = 1
select repeat('x', 300000)
select g, 'row ' || g, repeat('z', g % 50) from generate_series(1, 5000) g
select $tag$ it's; not 'two' -- $$ $tag$, $$;$$ /* a /* nested */ comment ; */
set statement_timeout = 80
select pg_sleep(5)
reset statement_timeout
listen talk
notify talk, 'to myself'
select pg_notify('talk', 'from a function')
unlisten talk
lock table item
vacuum item
analyze item
grant select on item to public
comment on table item is 'things'
select obj_description('item'::regclass)
set role reader
delete from item
reset role
select lo_create(4242)
select lo_unlink(4242)
checkpoint
discard all
