// A small application on node-postgres: text format, parameters of unknown type, named statements.
'use strict'

const assert = require('node:assert/strict')
const { Client, Pool } = require('pg')

const COLUMNS = `
  id bigint PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision,
  n numeric(20,5), t text, v varchar(20), c char(5), x bytea, d date, ts timestamp, tz timestamptz, u uuid,
  j jsonb, ai integer[], at text[]`
// What goes in, and what comes out: bigint and numeric are strings here, as they do not fit JavaScript's numbers.
const ROW = {
  id: '1', b: true, i2: -32768, i4: 2147483647, i8: '-9223372036854775808', f4: 1.5, f8: 1e300,
  n: '123456789012345.67890', t: "héllo 'wörld'", v: 'twenty', c: 'abc  ', x: Buffer.from([0, 255, 98]),
  d: new Date(2024, 1, 29), ts: new Date(2024, 0, 2, 3, 4, 5, 678), tz: new Date('2024-01-02T03:04:05Z'),
  u: '00000010-0000-0000-0000-000000000000', j: { a: [1, 2.5, null, 'x'], b: { c: true } },
  ai: [1, null, 3], at: ['a', 'b,c', null, 'q"'],
}

async function typedStatements (client, table) {
  const names = Object.keys(ROW)
  const marks = names.map((_, index) => `$${index + 1}`).join(', ')
  const insert = { name: 'insert', text: `INSERT INTO ${table} (${names.join(', ')}) VALUES (${marks})` }
  await client.query({ ...insert, values: Object.values(ROW) })
  const select = { name: 'select', text: `SELECT ${names.join(', ')} FROM ${table} WHERE id = $1` }
  for (let round = 0; round < 3; round++) {
    assert.deepEqual((await client.query({ ...select, values: [1] })).rows, [ROW])
  }
  await client.query({ ...insert, values: [2, ...names.slice(1).map(() => null)] })
  const nulls = (await client.query({ ...select, values: [2] })).rows[0]
  assert.deepEqual(Object.values(nulls), ['2', ...names.slice(1).map(() => null)])
  const many = await client.query(`SELECT id FROM ${table} WHERE id = ANY($1) ORDER BY id`, [[1, 2, 99]])
  assert.deepEqual(many.rows, [{ id: '1' }, { id: '2' }])
  const changed = await client.query(`UPDATE ${table} SET t = $2 WHERE id = $1 RETURNING id, t`, [2, 'new'])
  assert.deepEqual([changed.rowCount, changed.rows[0].t], [1, 'new'])
}

async function transactions (client, table) {
  await client.query('BEGIN')
  await client.query(`DELETE FROM ${table}`)
  await client.query('SAVEPOINT s')
  await assert.rejects(client.query(`INSERT INTO ${table} (id) VALUES (7), (7)`), { code: '23505' })
  await assert.rejects(client.query('SELECT 1'), { code: '25P02' })
  await client.query('ROLLBACK TO s')
  await client.query('ROLLBACK')
  assert.equal((await client.query(`SELECT count(*) FROM ${table}`)).rows[0].count, '2')
}

// The next notifications, so many.
function notes (client, count) {
  return new Promise((resolve, reject) => {
    const found = []
    const timer = setTimeout(() => reject(new Error(`only ${found.length} of ${count} notifications`)), 20000)
    client.on('notification', function heard (note) {
      found.push([note.channel, note.payload])
      if (found.length < count) return
      clearTimeout(timer)
      client.removeListener('notification', heard)
      resolve(found)
    })
  })
}

async function notifications (client, other) {
  await client.query('LISTEN news')
  const coming = notes(client, 1)
  await other.query("NOTIFY news, 'hello'")
  assert.deepEqual(await coming, [['news', 'hello']])
}

async function live (client, other, table) {
  const rows = await client.query(`LISTEN inbox FOR SELECT id, t FROM ${table} WHERE id BETWEEN 5000 AND 5999`)
  assert.deepEqual(rows.rows, [])
  const coming = notes(client, 3)
  await other.query(`INSERT INTO ${table} (id, t) VALUES (5000, 'live')`)
  await other.query(`UPDATE ${table} SET t = 'changed' WHERE id = 5000`)
  await other.query(`DELETE FROM ${table} WHERE id = 5000`)
  const events = (await coming).map(([channel, payload]) => ({ channel, ...JSON.parse(payload) }))
  assert.deepEqual(events.map(event => event.op), ['insert', 'update', 'delete'])
  assert.deepEqual(events[0].row, { id: 5000, t: 'live' })
  assert.ok(events.every(event => event.channel === 'inbox'))
}

async function main () {
  const client = new Client()
  const other = new Client()
  await client.connect()
  await other.connect()
  const version = (await client.query('SELECT version()')).rows[0].version
  const isKalamdb = version.includes('KalamDB')
  await client.query('CREATE SCHEMA IF NOT EXISTS compat')
  const table = 'compat.node_postgres'
  await client.query(`DROP TABLE IF EXISTS ${table}`)
  await client.query(`CREATE ${isKalamdb ? 'USER ' : ''}TABLE ${table} (${COLUMNS})`)
  await typedStatements(client, table)
  await transactions(client, table)
  await notifications(client, other)
  if (isKalamdb) await live(client, other, table)
  await other.query(`DROP TABLE ${table}`)
  const pool = new Pool({ max: 4 })
  const answers = await Promise.all([...Array(20).keys()].map(n => pool.query('SELECT $1::int AS n', [n])))
  assert.deepEqual(answers.map(answer => answer.rows[0].n), [...Array(20).keys()])
  await pool.end()
  await client.end()
  await other.end()
  console.log('node-postgres ok')
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
