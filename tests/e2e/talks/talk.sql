-- psql's part of a talk, before the statements of statements.sql. PID and time never appear in it.
\set VERBOSITY verbose
\set SHOW_CONTEXT always
\pset null '(null)'
\echo :AUTOCOMMIT
select 1 as a \; select 2 as b, 'two' as c \; select 3 as d;
select 1 \; select 1 / 0 \; select 'not run';
insert into journal (entry) values ('lost: one text, one transaction') \; select * from nowhere;
begin \; insert into journal (entry) values ('kept') \; commit \; select count(*) from journal;
select 1 as a, 'x' as b \gdesc
select 'four' as name \gset
\echo :name
\x on
select * from item where id = 1;
\x off
\copy lines (a, b) from stdin
1	one
2	\N
3	tab\there
\.
copy lines (a, b) from stdin with (format csv);
4,"four, quoted"
5,
\.
copy lines (a) from stdin;
not a number
\.
copy (select id, a, b, c from lines order by id) to stdout;
copy item to stdout with (format csv, header);
copy nowhere to stdout;
\copy (select repeat('x', 100), g from generate_series(1, 3000) g) to stdout
\set FETCH_COUNT 7
select g from generate_series(1, 20) g;
\unset FETCH_COUNT
\set ON_ERROR_ROLLBACK on
begin;
select 1 / 0;
select 'goes on';
commit;
\set ON_ERROR_ROLLBACK off
\set AUTOCOMMIT off
insert into journal (entry) values ('rolled back');
rollback;
\set AUTOCOMMIT on
\d item
\df pairs
\dt
select 'select ' || g from generate_series(1, 3) g \gexec
\lo_import :lo_file
\lo_unlink :LASTOID
