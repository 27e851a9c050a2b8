-- SPDX-License-Identifier: Apache-2.0
-- Sample data for scripts/run --demo.
create role shop_app login;
create role analyst login;
create database shop owner shop_app;
\connect shop shop_app
create table customer (id int primary key, name text not null, email text, city text);
create table orders (id bigserial primary key, customer int references customer, amount numeric(10, 2), placed date);
insert into customer
  select g, 'Customer ' || g, 'customer' || g || '@example.org', (array['Oslo', 'Porto', 'Ghent'])[1 + g % 3]
  from generate_series(1, 200) g;
insert into orders (customer, amount, placed)
  select 1 + g % 200, (g * 37 % 9000) / 10.0, date '2026-01-01' + g % 300 from generate_series(1, 2000) g;
grant select on customer, orders to analyst;
