// node-postgres at work: a pool, parameters, types, transactions, errors, a cancelled statement, many queries at once.
const { Client, Pool } = require('pg');
const say = (...words) => console.log(...words.map((w) => (typeof w === 'string' ? w : JSON.stringify(w))));
async function main() {
  const client = new Client();
  client.on('notice', (n) => say('notice', n.code, n.message));
  client.on('notification', (n) => say('notification', n.channel, n.payload));
  await client.connect();
  await client.query('DROP TABLE IF EXISTS nodes');
  await client.query('CREATE TABLE nodes (id serial PRIMARY KEY, name text, n numeric(10,2), big bigint, at timestamptz, tags text[], data jsonb, raw bytea, ok bool)');
  const row = ['naïve', '12.50', '9007199254740993', new Date('2024-02-29T12:30:00Z'), ['a b', null, 'c'], { a: [1, { b: null }] }, Buffer.from([0, 255]), true];
  say((await client.query('INSERT INTO nodes (name, n, big, at, tags, data, raw, ok) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *', row)).rows);
  for (let i = 0; i < 7; i++) await client.query({ name: 'put', text: 'INSERT INTO nodes (name, n) VALUES ($1, $2)', values: ['n' + i, i] });
  const all = await client.query({ text: 'SELECT id, name, n FROM nodes ORDER BY id', rowMode: 'array' });
  say(all.rows, all.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeModifier, f.columnID]));
  const several = await client.query('SELECT 1 AS a; SELECT 2 AS b, 3 AS c');
  say(several.map((r) => r.rows));
  for (const [sql, values] of [['SELECT nothing FROM nodes'], ['INSERT INTO nodes (id) VALUES (1)'], ['SELECT $1::int', ['x']], ['SELEC 1'], ['SELECT 1/0']]) {
    try { await client.query(sql, values); } catch (e) { say(e.code, e.message, e.position, e.table, e.constraint, e.severity); }
  }
  await client.query('BEGIN');
  await client.query('UPDATE nodes SET n = n + 1');
  try { await client.query('SELECT 1/0'); } catch (e) { say(e.code); }
  try { await client.query('SELECT 1'); } catch (e) { say(e.code, e.message); }
  await client.query('ROLLBACK');
  say((await client.query('SELECT sum(n) FROM nodes')).rows);
  await client.query("SET statement_timeout = '200ms'");
  try { await client.query('SELECT pg_sleep(10)'); } catch (e) { say(e.code, e.message); }
  await client.query('RESET statement_timeout');
  try {
    await client.query('LISTEN words');
    await client.query("NOTIFY words, 'hello'");
    await client.query('SELECT 1');
  } catch (e) { say(e.code, e.message); }
  await client.end();
  const pool = new Pool({ max: 5 });
  const sums = await Promise.all([...Array(50).keys()].map((i) => pool.query('SELECT $1::int * 2 AS n', [i])));
  say(sums.reduce((s, r) => s + r.rows[0].n, 0));
  await pool.query('DROP TABLE nodes');
  await pool.end();
}
main().catch((e) => { console.log('failed', e.code, e.message); process.exit(1); });
