//! What a shared plan answers is what the statement's own plan does: a comment makes a text one that is bound as it is.
#![allow(clippy::unwrap_used)]

use super::Session;
use super::standby_tests::{engine, open, rows, run};

/// What psql asks for `\d`, `\d+`, `\dt` and `\df`; `{oid}` and `{name}` are what differs.
const PSQL: &[&str] = &[
    "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname OPERATOR(pg_catalog.~) '^({name})$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3",
    "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname OPERATOR(pg_catalog.~) '^({name}.*)$' COLLATE pg_catalog.default ORDER BY 2, 3",
    "SELECT c.relchecks, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity, c.relforcerowsecurity,
     false AS relhasoids, c.relispartition, pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from
     pg_catalog.unnest(tc.reloptions) x), ', '), c.reltablespace, CASE WHEN c.reloftype = 0 THEN '' ELSE
     c.reloftype::pg_catalog.regtype::pg_catalog.text END, c.relpersistence, c.relreplident, am.amname FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid) LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid)
     WHERE c.oid = '{oid}';",
    "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true)
     FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull,
     (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t WHERE c.oid = a.attcollation AND t.oid = a.atttypid
     AND a.attcollation <> t.typcollation) AS attcollation, a.attidentity, a.attgenerated,
     CASE WHEN a.attstattarget=-1 THEN NULL ELSE a.attstattarget END AS attstattarget,
     pg_catalog.col_description(a.attrelid, a.attnum) FROM pg_catalog.pg_attribute a
     WHERE a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;",
    "SELECT c2.relname, i.indisprimary, i.indisunique, i.indisclustered, i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid, 0,
     true), pg_catalog.pg_get_constraintdef(con.oid, true), contype, condeferrable, condeferred, i.indisreplident, c2.reltablespace
     FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint con
     ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x')) WHERE c.oid = '{oid}'
     AND c.oid = i.indrelid AND i.indexrelid = c2.oid ORDER BY i.indisprimary DESC, c2.relname;",
    "SELECT r.conname, pg_catalog.pg_get_constraintdef(r.oid, true) FROM pg_catalog.pg_constraint r
     WHERE r.conrelid = '{oid}' AND r.contype = 'c' ORDER BY 1;",
    "SELECT true as sametable, conname, pg_catalog.pg_get_constraintdef(r.oid, true) as condef, conrelid::pg_catalog.regclass AS
     ontable FROM pg_catalog.pg_constraint r WHERE r.conrelid = '{oid}' AND r.contype = 'f' AND conparentid = 0 ORDER BY conname;",
    "SELECT conname, conrelid::pg_catalog.regclass AS ontable, pg_catalog.pg_get_constraintdef(oid, true) AS condef
     FROM pg_catalog.pg_constraint c WHERE confrelid IN (SELECT pg_catalog.pg_partition_ancestors('{oid}')
     UNION ALL VALUES ('{oid}'::pg_catalog.regclass)) AND contype = 'f' AND conparentid = 0 ORDER BY conname;",
    "SELECT pol.polname, pol.polpermissive, CASE WHEN pol.polroles = '{0}' THEN NULL ELSE pg_catalog.array_to_string(array(select
     rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END,
     pg_catalog.pg_get_expr(pol.polqual, pol.polrelid), CASE pol.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' END AS cmd
     FROM pg_catalog.pg_policy pol WHERE pol.polrelid = '{oid}' ORDER BY 1;",
    "SELECT pubname , NULL , NULL FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid
     JOIN pg_catalog.pg_class pc ON pc.relnamespace = pn.pnnspid WHERE pc.oid ='{oid}' and
     pg_catalog.pg_relation_is_publishable('{oid}') UNION SELECT pubname , NULL , NULL FROM pg_catalog.pg_publication p
     WHERE p.puballtables AND pg_catalog.pg_relation_is_publishable('{oid}') ORDER BY 1;",
    "SELECT c.oid::pg_catalog.regclass, c.relkind, inhdetachpending, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
     FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i WHERE c.oid = i.inhrelid AND i.inhparent = '{oid}'
     ORDER BY pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', c.oid::pg_catalog.regclass::pg_catalog.text;",
    "SELECT n.nspname as \"Schema\", c.relname as \"Name\", CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN
     'sequence' END as \"Type\", pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\" FROM pg_catalog.pg_class c LEFT JOIN
     pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','s','') AND n.nspname !~ '^pg_toast'
     AND c.relname OPERATOR(pg_catalog.~) '^({name}.*)$' COLLATE pg_catalog.default ORDER BY 1,2;",
    "SELECT p.proname, pg_catalog.pg_get_function_result(p.oid), pg_catalog.pg_get_function_arguments(p.oid), CASE p.prokind WHEN 'a'
     THEN 'agg' WHEN 'w' THEN 'window' ELSE 'func' END FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n
     ON n.oid = p.pronamespace WHERE p.proname OPERATOR(pg_catalog.~) '^({name}.*)$' COLLATE pg_catalog.default
     AND pg_catalog.pg_function_is_visible(p.oid) ORDER BY 1, 2, 3;",
];

/// Other texts; those of a line differ in their literals, and some of these decide how the text is to be read.
const OTHERS: &[&[&str]] = &[
    // Numbers of columns.
    &[
        "SELECT relname, relkind FROM pg_class WHERE relname LIKE 'ta%' ORDER BY 1",
        "SELECT relname, relkind FROM pg_class WHERE relname LIKE 'ta%' ORDER BY 2",
        "SELECT relname, relkind FROM pg_class WHERE relname LIKE 'ta%' ORDER BY 3",
    ],
    &[
        "SELECT relkind, 7, count(*) FROM pg_class WHERE relname LIKE 'ta%' GROUP BY 1, 2 ORDER BY 1",
        "SELECT relkind, 8, count(*) FROM pg_class WHERE relname LIKE 'ta%' GROUP BY 1, 2 ORDER BY 1",
        "SELECT relkind, 8, count(*) FROM pg_class WHERE relname LIKE 'ta%' GROUP BY 1, 3 ORDER BY 1",
    ],
    // The same expression twice.
    &[
        "SELECT relnatts + 1, count(*) FROM pg_class WHERE relname LIKE 'ta%' GROUP BY relnatts + 1 ORDER BY relnatts + 1",
        "SELECT relnatts + 2, count(*) FROM pg_class WHERE relname LIKE 'ta%' GROUP BY relnatts + 2 ORDER BY relnatts + 2",
        "SELECT relnatts + 2, count(*) FROM pg_class WHERE relname LIKE 'ta%' GROUP BY relnatts + 1 ORDER BY relnatts + 1",
    ],
    &[
        "SELECT sum(relnatts + 1), sum(relnatts + 2) FROM pg_class WHERE relname LIKE 'ta%'",
        "SELECT sum(relnatts + 2), sum(relnatts + 3) FROM pg_class WHERE relname LIKE 'ta%'",
        "SELECT sum(relnatts + 2), sum(relnatts + 2) FROM pg_class WHERE relname LIKE 'ta%'",
    ],
    // How many rows.
    &[
        "SELECT relname FROM pg_class WHERE relname LIKE 'ta%' ORDER BY relname LIMIT 1 OFFSET 0",
        "SELECT relname FROM pg_class WHERE relname LIKE 'ta%' ORDER BY relname LIMIT 2 OFFSET 1",
        "SELECT relname FROM pg_class WHERE relname LIKE 'ta%' ORDER BY relname LIMIT 0 OFFSET 1",
        "SELECT relname FROM pg_class WHERE relname LIKE 'ta%' ORDER BY relname LIMIT -1 OFFSET 1",
    ],
    // Names and numbers of relations.
    &[
        "SELECT attname FROM pg_attribute WHERE attrelid = 'ta'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT attname FROM pg_attribute WHERE attrelid = 'tb'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT attname FROM pg_attribute WHERE attrelid = '1259'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT attname FROM pg_attribute WHERE attrelid = 'nothing'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT attname FROM pg_attribute WHERE attrelid = 'other.ta'::regclass AND attnum > 1 ORDER BY attnum",
    ],
    &[
        "SELECT relname FROM pg_class WHERE oid = to_regclass('ta')",
        "SELECT relname FROM pg_class WHERE oid = to_regclass('tb')",
        "SELECT relname FROM pg_class WHERE oid = to_regclass('nothing')",
    ],
    // What cannot be read.
    &[
        "SELECT relname FROM pg_class WHERE oid = '1259'",
        "SELECT relname FROM pg_class WHERE oid = '1247'",
        "SELECT relname FROM pg_class WHERE oid = 'pg_class'",
        "SELECT relname FROM pg_class WHERE oid = '-'",
    ],
    &[
        "SELECT relname FROM pg_class WHERE oid = 1259",
        "SELECT relname FROM pg_class WHERE oid = 1249",
        "SELECT relname FROM pg_class WHERE oid = -1259",
        "SELECT relname FROM pg_class WHERE oid = 4294967296",
        "SELECT relname FROM pg_class WHERE oid = 1259.5",
        "SELECT relname FROM pg_class WHERE oid = 1247",
    ],
    // Patterns.
    &[
        "SELECT relname FROM pg_class WHERE relname ~ '^(ta)$' ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname ~ '^(t.)$' ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname ~ '^(tb)$' ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname ~ '^(t' ORDER BY 1",
    ],
    &[
        "SELECT relname FROM pg_class WHERE relname LIKE 'ta' ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname LIKE 'ta%' ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname LIKE 'tb' ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname LIKE E'ta\\\\' ORDER BY 1",
    ],
    // Lists and arrays.
    &[
        "SELECT relname FROM pg_class WHERE relname IN ('ta', 'tb') ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname IN ('ta', 'ta') ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname IN ('tb', 'tc') ORDER BY 1",
    ],
    &[
        "SELECT relname FROM pg_class WHERE relname = ANY ('{ta,tb}') ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname = ANY ('{tb}') ORDER BY 1",
        "SELECT relname FROM pg_class WHERE relname = ANY ('tb') ORDER BY 1",
    ],
    // Types and their modifiers.
    &[
        "SELECT '1 day'::interval + '2 days'::interval, 'abcdef'::varchar(3) FROM pg_class WHERE relname = 'ta'",
        "SELECT '2 day'::interval + '2 days'::interval, 'ghijkl'::varchar(3) FROM pg_class WHERE relname = 'ta'",
        "SELECT '2 day'::interval + '3 days'::interval, 'ghijkl'::varchar(2) FROM pg_class WHERE relname = 'ta'",
    ],
    &[
        "SELECT 'a' AS x, 1 AS y FROM pg_class WHERE relname = 'ta' UNION SELECT 'b', 2 ORDER BY 1",
        "SELECT 'c' AS x, 1 AS y FROM pg_class WHERE relname = 'ta' UNION SELECT 'b', 3 ORDER BY 1",
        "SELECT 'c' AS x, 1 AS y FROM pg_class WHERE relname = 'ta' UNION SELECT 'c', 1 ORDER BY 2",
    ],
    // Strings that a number or a date decides the type of.
    &[
        "SELECT coalesce(NULL, '1') FROM pg_class WHERE relname = 'ta' AND '2' > 1",
        "SELECT coalesce(NULL, '2') FROM pg_class WHERE relname = 'ta' AND '3' > 1",
        "SELECT coalesce(NULL, '3') FROM pg_class WHERE relname = 'ta' AND 'x' > 1",
        "SELECT coalesce(NULL, '4') FROM pg_class WHERE relname = 'ta' AND '4' > 5",
    ],
    &[
        "SELECT substring(relname from 1 for 2), relname || '-a' FROM pg_class WHERE relname = 'ta'",
        "SELECT substring(relname from 2 for 2), relname || '-b' FROM pg_class WHERE relname = 'ta'",
        "SELECT substring(relname from 2 for 1), relname || '-c' FROM pg_class WHERE relname = 'tb'",
    ],
    // Errors of values.
    &[
        "SELECT relnatts / 1 FROM pg_class WHERE relname = 'ta'",
        "SELECT relnatts / 2 FROM pg_class WHERE relname = 'ta'",
        "SELECT relnatts / 0 FROM pg_class WHERE relname = 'ta'",
    ],
    &[
        "SELECT table_name, is_insertable_into FROM information_schema.tables WHERE table_schema = 'other' ORDER BY 1",
        "SELECT table_name, is_insertable_into FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        "SELECT table_name, is_insertable_into FROM information_schema.tables WHERE table_schema = 'none' ORDER BY 1",
    ],
];

/// Runs a text as it is and as one that no plan is shared for.
async fn agrees(session: &mut Session, sql: &str) {
    let own = run(session, &format!("/* its own */ {sql}")).await;
    let shared = run(session, sql).await;
    let told = |e: crate::Error| (e.state(), e.message().to_string());
    assert_eq!(shared.map_err(told), own.map_err(told), "{sql}");
}

async fn tables(session: &mut Session) -> Vec<(String, String)> {
    let sql = "SELECT oid, relname FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'v') ORDER BY oid";
    let rows = rows(session, sql).await;
    rows.iter().map(|row| row.split_once(',').map(|(oid, name)| (oid.to_owned(), name.to_owned())).unwrap()).collect()
}

async fn all_agree(session: &mut Session) {
    let tables = tables(session).await;
    for sql in PSQL {
        for (oid, name) in &tables {
            agrees(session, &sql.replace("{oid}", oid).replace("{name}", name)).await;
        }
        for (oid, name) in [("0", "no"), ("99999", "t"), ("x", "(")] {
            agrees(session, &sql.replace("{oid}", oid).replace("{name}", name)).await;
        }
    }
    for texts in OTHERS {
        // Each after each other.
        for first in *texts {
            for second in *texts {
                agrees(session, first).await;
                agrees(session, second).await;
            }
        }
    }
}

const SCHEMA: &str = "
    CREATE TABLE ta (id int PRIMARY KEY, name varchar(40) NOT NULL DEFAULT 'x', amount numeric(10, 2) CHECK (amount > 0));
    CREATE TABLE tb (id int PRIMARY KEY, ta int REFERENCES ta, note text COLLATE \"C\"); CREATE INDEX ON tb (note);
    CREATE TABLE tc () INHERITS (ta); CREATE VIEW tv AS SELECT id FROM ta; CREATE SCHEMA other;
    CREATE TABLE other.ta (a int, b int, CHECK (a < b)); COMMENT ON COLUMN ta.name IS 'the name';
    ALTER TABLE tb ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON tb USING (id > 0);
    CREATE FUNCTION ta_count(int) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM ta WHERE id = $1'; CREATE ROLE reader;";

#[tokio::test]
async fn queries_over_the_catalog_answer_the_same_as_on_their_own() {
    let (engine, _log) = engine();
    let mut session = open(&engine).await;
    rows(&mut session, SCHEMA).await;
    all_agree(&mut session).await;
    // psql's have been learned.
    assert!(session.cache.lifted.shared() >= PSQL.len() + 5, "{}", session.cache.lifted.shared());
    // What names mean, who asks, and the catalog: each makes all plans void.
    for sql in [
        "SET search_path = other, public",
        "SET search_path = public; SET ROLE reader",
        "RESET ROLE; CREATE TEMP TABLE ta (t int)",
        "DROP TABLE pg_temp.ta; ALTER TABLE tb RENAME TO td; ALTER TABLE tc RENAME TO tb",
        "BEGIN; ALTER TABLE ta ADD COLUMN later int",
        "ROLLBACK; BEGIN; DROP TABLE other.ta",
        "ROLLBACK",
    ] {
        rows(&mut session, sql).await;
        for (texts, sql) in OTHERS.iter().zip(PSQL) {
            // An error would end the transaction.
            let texts = if session.block.explicit { &texts[..2] } else { *texts };
            for text in texts {
                agrees(&mut session, text).await;
            }
            for (oid, name) in tables(&mut session).await {
                agrees(&mut session, &sql.replace("{oid}", &oid).replace("{name}", &name)).await;
            }
        }
    }
}

#[tokio::test]
async fn what_passes_is_not_shared() {
    let (engine, _log) = engine();
    let mut session = open(&engine).await;
    let sql = "SELECT 'now'::timestamptz, relname FROM pg_class WHERE relname = 'pg_class'";
    let mut before = Vec::new();
    for _ in 0..4 {
        let found = rows(&mut session, sql).await;
        assert_ne!(found, before);
        before = found;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(session.cache.lifted.shared(), 0);
    // As an operand it is read anew each time.
    for sql in [
        "SELECT relname FROM pg_class WHERE relname = 'pg_class' AND now() <= 'tomorrow'",
        "SELECT relname FROM pg_class WHERE relname = 'pg_class' AND now() <= 'today'",
        "SELECT relname FROM pg_class WHERE relname = 'pg_class' AND now() <= 'infinity'",
    ] {
        agrees(&mut session, sql).await;
    }
}

#[tokio::test]
async fn a_catalog_that_changes_all_the_time_costs_no_second_plan() {
    let (engine, _log) = engine();
    let mut session = open(&engine).await;
    for table in ["a", "b", "c"] {
        rows(&mut session, &format!("CREATE TABLE {table} (id int)")).await;
        rows(&mut session, &format!("SELECT count(*) FROM pg_class WHERE relname = '{table}' AND relkind = 'r'")).await;
        assert_eq!(session.cache.lifted.shared(), 0);
    }
    rows(&mut session, "SELECT count(*) FROM pg_class WHERE relname = 'a' AND relkind = 'r'").await;
    assert_eq!(session.cache.lifted.shared(), 1);
}
