create table t(id int primary key, name text, amount numeric(10,2), at timestamptz);
create table u(id int primary key, t_id bigint, note varchar(5));
insert into t values (1,'one',10.50,'2024-01-01 00:00:00+00'),(2,'two',20.00,'2024-02-01 12:30:00+00'),(3,'three',null,null),(4,null,5.25,'2023-12-31 23:59:59+00'),(5,'one',10.50,'2024-03-05 06:07:08.9+00');
insert into u values (10,1,'a'),(11,1,'b'),(12,2,null),(13,null,'c'),(14,9,'d');
