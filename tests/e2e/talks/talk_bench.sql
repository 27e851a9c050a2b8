\set id random(1, 100)
\startpipeline
select abalance from pgbench_accounts where aid = :id;
update pgbench_accounts set abalance = abalance + 1 where aid = :id;
select :id + 1;
\endpipeline
