SELECT id, v + 1, s || 'x', n * 2.5, d - 3, ts AT TIME ZONE 'UTC' FROM t WHERE id = $1 AND s LIKE 'a%' ORDER BY v DESC NULLS LAST LIMIT 10 OFFSET 2
SELECT count(*), sum(v), avg(n), min(d), max(ts), string_agg(s, ',' ORDER BY id) FROM t GROUP BY v HAVING count(*) > 1
SELECT t.id, u.b, w.total FROM t LEFT JOIN u ON u.t_id = t.id JOIN w USING (id) WHERE u.a BETWEEN 1 AND 10 OR u.c[1] = 'x'
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT * FROM r
SELECT row_number() OVER (PARTITION BY v ORDER BY id), lag(s) OVER (ORDER BY id), rank() OVER w2 FROM t WINDOW w2 AS (ORDER BY v)
SELECT CASE WHEN v > 0 THEN 'p' WHEN v < 0 THEN 'n' ELSE NULL END, coalesce(s, '-'), nullif(v, 0), greatest(v, id) FROM t
INSERT INTO t (id, v, s) VALUES ($1, $2, $3), (2, DEFAULT, NULL) ON CONFLICT (id) DO UPDATE SET v = t.v + EXCLUDED.v WHERE t.v < 5 RETURNING *
INSERT INTO u (a, b, c, j) SELECT id, v, ARRAY[s, 'x'], '{"a": 1}' FROM t WHERE NOT EXISTS (SELECT 1 FROM u AS u2 WHERE u2.t_id = t.id)
UPDATE t SET (v, s) = (v + 1, upper(s)), n = round(n, 1) FROM u WHERE u.t_id = t.id AND u.f > 1e10 RETURNING t.id, u.b
DELETE FROM t USING u WHERE t.id = u.t_id AND t.v IN (SELECT a FROM u WHERE b IS NOT NULL)
SELECT extract(year FROM d), date_trunc('month', ts), d + interval '1 month 2 days', ts - now(), to_char(ts, 'YYYY-MM-DD HH24:MI') FROM t
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(x, y) UNION SELECT id, s FROM t EXCEPT SELECT a, 'c' FROM u
SELECT j -> 'a', j ->> 'b', j #> '{a,b}', j @> '{"a":1}' FROM u
SELECT array_agg(v), unnest(c), c || 'x'::text, array_length(c, 1), 'x' = ANY (c) FROM u, t GROUP BY c
SELECT a IS DISTINCT FROM b AND c IS NULL OR NOT f IS NOT DISTINCT FROM 1 FROM u
SELECT substring(s FROM 2 FOR 3), position('a' IN s), trim(BOTH 'x' FROM s), overlay(s PLACING 'y' FROM 1), s ~ '^a.*b$', s SIMILAR TO 'x%' FROM t
SELECT generate_series(1, 10), nextval('q'), currval('q'), random(), md5(s), length(s), 1::text, '2'::int, CAST(v AS numeric(5,2)) FROM t
SELECT E'\n\t\u0041', $$dollar$$, U&'\0041', 1.5e-3, .5, 'a' AS b, "id" FROM t
CREATE TABLE x (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int CHECK (a > 0), b text UNIQUE DEFAULT 'x', c int REFERENCES t (id))
CREATE UNIQUE INDEX i ON t (lower(s), v DESC) WHERE v > 0
ALTER TABLE t ADD COLUMN z timestamp DEFAULT now(), DROP COLUMN n, ALTER COLUMN s SET NOT NULL
DROP TABLE IF EXISTS u, t CASCADE
TRUNCATE u RESTART IDENTITY
CREATE ROLE r LOGIN PASSWORD 'x' VALID UNTIL '2030-01-01'
GRANT SELECT, UPDATE ON t TO PUBLIC
COPY t (id, v) FROM STDIN WITH (FORMAT csv, HEADER, NULL '')
COPY (SELECT * FROM t) TO STDOUT
EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM t WHERE id = 1
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE
SAVEPOINT a
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t FOR UPDATE OF t NOWAIT
SET LOCAL search_path TO public, pg_catalog
PREPARE p (int, text) AS SELECT $1 + 1, $2 || 'x'
SELECT relname, relkind FROM pg_catalog.pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relname ~ '^(t)$' COLLATE pg_catalog.default
SELECT grouping(v), v, s, count(*) FILTER (WHERE id > 1) FROM t GROUP BY ROLLUP (v, s)
SELECT DISTINCT ON (v) v, id FROM t ORDER BY v, id DESC FETCH FIRST 3 ROWS ONLY
SELECT t.*, (SELECT max(b) FROM u WHERE u.t_id = t.id), ROW(1, 'a'), (t).id FROM t CROSS JOIN LATERAL (SELECT a FROM u WHERE u.t_id = t.id) AS l
