'use strict'
// What bench/app asks of the database, written for Fastify: compiled JSON, named statements.
const fastify = require('fastify')()
const { Pool } = require('pg')

const pool = new Pool({ connectionString: process.env.DATABASE, max: 16 })
const world = { name: 'world', text: 'SELECT id, randomnumber FROM world WHERE id = $1' }
const row = {
  type: 'object',
  properties: { id: { type: 'integer' }, randomNumber: { type: 'integer' } }
}

function answers (schema) {
  return { schema: { response: { 200: schema } } }
}

async function read (client) {
  const id = 1 + Math.floor(Math.random() * 10000)
  const { rows: [found] } = await client.query({ ...world, values: [id] })
  return { id: found.id, randomNumber: found.randomnumber }
}

fastify.get('/plaintext', async () => 'Hello, World!')

fastify.get('/db', answers(row), () => read(pool))

fastify.get('/queries', answers({ type: 'array', items: row }), async (request) => {
  const client = await pool.connect()
  try {
    const list = []
    for (let i = 0; i < Number(request.query.n); i++) list.push(await read(client))
    return list
  } finally {
    client.release()
  }
})

fastify.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 })
