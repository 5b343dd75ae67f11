// Takes all requests of the local Supabase: @supabase/lite for Auth, the Data API and buckets, and the code that
// bridges its differences from a hosted project, so that clients and services need not know which one they talk to.
// Each bridge has a comment that says what the real service does.
//
// Settings come from the environment (see stack.py). Ends with its parent: when stdin closes, so does this.
import { AsyncLocalStorage } from 'node:async_hooks'
import { readFile } from 'node:fs/promises'
import { Agent, request as httpRequest } from 'node:http'
import { Readable } from 'node:stream'
import { createAdaptorServer } from '@hono/node-server'
import { CompiledQuery } from 'kysely'
import postgres from 'postgres'
import { createAdmin } from './admin.mjs'
import { nameForeignKeys } from './embedding.mjs'
import { assertLite } from './lite.mjs'
import { createStorage, StorageError } from './storage.mjs'
import { createTokens } from './tokens.mjs'

// Lite creates the tables of storage only if this is set; it reads the variable while it is being loaded.
process.env.EXPERIMENTAL_STORAGE = '1'
const { App } = await import('@supabase/lite')
const { createPostgresConnection } = await import('@supabase/lite/postgres')

const {
  API_PORT,
  SUPABASE_URL,
  SUPABASE_PUBLISHABLE_KEY: publishableKey,
  SUPABASE_SECRET_KEY: secretKey,
  SUPABASE_JWT_SECRET: jwtSecret,
  SIGNING_KEY,
  POSTGRES_PORT,
  POSTGRES_PASSWORD,
  STORAGE_DIRECTORY,
} = process.env

const database = (role, options) =>
  postgres({
    host: '127.0.0.1',
    port: Number(POSTGRES_PORT),
    database: 'postgres',
    user: role,
    password: POSTGRES_PASSWORD,
    onnotice: () => {},
    ...options,
  })

// PostgREST and GoTrue show times as ISO 8601; Lite shows Postgres' own format, which clients refuse to parse.
const isoTime = (oid) => ({
  to: oid,
  from: [oid],
  serialize: (value) => value,
  parse: (value) => value.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'),
})
// Lite passes JSON on as text, which the driver would encode once more: columns and arguments would hold a JSON string.
const jsonType = (oid) => ({
  to: oid,
  from: [oid],
  serialize: (value) => (typeof value === 'string' ? value : JSON.stringify(value)),
  parse: JSON.parse,
})
const connection = createPostgresConnection({
  url: `postgresql://supabase_admin:${POSTGRES_PASSWORD}@127.0.0.1:${POSTGRES_PORT}/postgres`,
  postgresOptions: {
    max: 20,
    onnotice: () => {},
    types: { timestamp: isoTime(1114), timestamptz: isoTime(1184), json: jsonType(114), jsonb: jsonType(3802) },
  },
})
const app = new App({
  connection,
  api: { schemas: ['public'] },
  auth: {
    enabled: true,
    site_url: 'http://127.0.0.1:3000',
    jwt_secret: jwtSecret,
    publishable_key: publishableKey,
    secret_key: secretKey,
    email: { enable_signup: true, enable_confirmations: false },
  },
  storage: { enabled: true },
  db: { migrations: { enabled: false } },
  studio: { enabled: false },
})
assertLite(app, connection)
// Lite needs a place to keep objects; here it only keeps their buckets.
app._storageAdapter = {}
await app.init()

// Lite grants ALL on every table of the exposed schemas to anon, authenticated and service_role with the first
// request that finds row level security, and skips row level security for good on a connection whose first request
// found none. A hosted project does neither: told that the work is done, Lite leaves grants alone and always takes
// on the caller's role.
connection.rlsState = 'active'

class SchemaCacheError extends Error {
  code = 'PGRST002'
  message = 'Could not query the database for the schema cache. Retrying.'
}

// The database's own error for each request.
const databaseErrors = new AsyncLocalStorage()
function noteError(error) {
  const outcome = databaseErrors.getStore()
  if (outcome) outcome.error = error
  return error
}
connection.normalizeDbError = noteError
const introspect = connection.introspect.bind(connection)
connection.introspect = async (options) => {
  const schema = await introspect(options)
  // Without a database Lite thinks that the schema is empty, and answers 404 to everything.
  if (schema.functions === undefined) throw new SchemaCacheError()
  // Lite treats even a partial unique index as a promise of one row, and embeds an object instead of a list. PostgREST
  // looks at primary keys and unique constraints only.
  for (const index of schema.indexes ?? []) index.unique = false
  // By a foreign key that is named (see embedding.mjs) Lite joins on its first column only, PostgREST on all.
  // If one of the columns refers to a primary key, that one is enough.
  const primary = new Set(schema.primary_keys?.map(({ table, columns }) => `${table}.${columns}`))
  const isEnough = (key) => primary.has(`${key.ref_table}.${key.ref_column}`)
  const reducible = new Set(schema.foreign_keys?.filter(isEnough).map((key) => key.foreign_key_name))
  schema.foreign_keys = schema.foreign_keys?.filter((key) => isEnough(key) || !reducible.has(key.foreign_key_name))
  return schema
}
app.server.onError((error, context) => {
  console.error(noteError(error))
  return context.json({ message: 'An unexpected error occurred' }, 500)
})

await prepareDatabase()
const sql = {
  auth: database('supabase_auth_admin', { max: 5 }),
  storage: database('supabase_storage_admin', { max: 20 }),
}
const tokens = await createTokens({ url: SUPABASE_URL, jwtSecret, signingKey: JSON.parse(SIGNING_KEY) })
const storage = createStorage({ sql: sql.storage, directory: STORAGE_DIRECTORY, tokens })
const admin = createAdmin({ sql: sql.auth, lite, tokens, publishableKey })
const roleSettings = new Map()
let foreignKeys = []
let joined = []
await loadSchema()
applyRoleSettings()
listenForSchemaChanges()

async function prepareDatabase() {
  const root = database('supabase_admin', { max: 1 })
  const run = async (tx, name) => tx.unsafe(await readFile(new URL(name, import.meta.url), 'utf8'))
  try {
    const [ready] = await root`select from pg_roles where rolname = 'supabase_storage_admin'`
    if (ready) return await run(root, 'storage.sql')
    await app.ensureSystemSchema()
    await root.begin(async (tx) => {
      for (const name of ['platform.sql', 'storage.sql', 'wide_privileges.sql']) await run(tx, name)
      for (const role of ['postgres', 'authenticator', 'supabase_auth_admin', 'supabase_storage_admin'])
        await tx.unsafe(`alter role ${role} password '${POSTGRES_PASSWORD}'`)
    })
  } finally {
    await root.end()
  }
}

/** Reads the foreign keys, and what `alter role … set` says about the API roles, with authenticator's beneath. */
async function loadSchema() {
  foreignKeys = await sql.auth`
    select c.conname as name, s.relname as source, d.relname as destination
    from pg_constraint as c
    inner join pg_class as s on s.oid = c.conrelid
    inner join pg_class as d on d.oid = c.confrelid
    where c.contype = 'f' and s.relnamespace = 'public'::regnamespace and d.relnamespace = 'public'::regnamespace`
  joined = await sql.auth`
    select one.confrelid::regclass::text as one, other.confrelid::regclass::text as other
    from pg_constraint as key
    inner join pg_constraint as one on one.conrelid = key.conrelid and one.conkey <@ key.conkey and one.contype = 'f'
    inner join pg_constraint as other
      on other.conrelid = key.conrelid and other.conkey <@ key.conkey and other.contype = 'f' and other.oid > one.oid
    where key.contype = 'p' and key.connamespace = 'public'::regnamespace`
  joined = joined.map(({ one, other }) => [one, other].map((name) => name.replace('public.', '')))
  const rows = await sql.auth`
    select rolname, split_part(setting, '=', 1) as name, substr(setting, strpos(setting, '=') + 1) as value
    from pg_roles cross join unnest(rolconfig) as setting
    where rolname in ('authenticator', 'anon', 'authenticated', 'service_role')`
  const of = (role) => rows.filter(({ rolname }) => rolname === role).map(({ name, value }) => [name, value])
  for (const role of ['anon', 'authenticated', 'service_role'])
    roleSettings.set(role, new Map([...of('authenticator'), ...of(role)]))
}

/** PostgREST logs in as authenticator and applies the settings of the role to each request; Lite 0.10.0 does neither. */
function applyRoleSettings() {
  const applyJwtSessionContext = connection.applyJwtSessionContext.bind(connection)
  connection.applyJwtSessionContext = async (transaction, context, setRole) => {
    await applyJwtSessionContext(transaction, context, setRole)
    const settings = [...(roleSettings.get(context.auth?.role ?? 'anon') ?? [])]
    if (settings.length === 0) return
    const calls = settings.map((_, index) => `set_config($${2 * index + 1}, $${2 * index + 2}, true)`)
    await transaction.executeQuery(CompiledQuery.raw(`select ${calls.join(', ')}`, settings.flat()))
  }
}

/** PostgREST reloads schema cache and role settings on `notify pgrst` and after every reconnection; Lite never does. */
function listenForSchemaChanges() {
  const reload = () => {
    connection.clearSchemaCache()
    return loadSchema()
  }
  const again = () => setTimeout(listenForSchemaChanges, 200)
  const listener = database('supabase_admin', {
    max: 1,
    idle_timeout: null,
    max_lifetime: null,
    fetch_types: false,
    onnotify: () => reload().catch(() => {}),
    onclose: () => {
      listener.end()
      again()
    },
  })
  listener.unsafe('listen pgrst').then(reload).catch(() => {})
}

/** The API key of a request, the role that it stands for, and the token beside it, if there is another. */
function credentials(request) {
  const key = request.headers.get('apikey') ?? new URL(request.url).searchParams.get('apikey')
  const bearer = /^Bearer(?:\s+(.*))?$/i.exec(request.headers.get('authorization') ?? '')
  const token = bearer ? (bearer[1] ?? '') : undefined
  // Clients without a session send the key a second time, as a token. The hosted gateway treats that like no token.
  return { keyRole: { [publishableKey]: 'anon', [secretKey]: 'service_role' }[key], token: token === key ? undefined : token }
}

async function lite(request) {
  return app.fetch(request, { peerAddress: null })
}

function liteWith(request, token) {
  const headers = new Headers(request.headers)
  headers.set('authorization', `Bearer ${token}`)
  return lite(new Request(request, { headers }))
}

async function jsonOf(response) {
  if (!response.headers.get('content-type')?.includes('json')) return undefined
  return response.clone().json().catch(() => undefined)
}

function replaceBody(response, body) {
  const headers = new Headers(response.headers)
  headers.delete('content-length')
  return Response.json(body, { status: response.status, headers })
}

async function auth(request, path) {
  if (path === '/.well-known/jwks.json')
    return Response.json(tokens.jwks, { headers: { 'cache-control': 'public, max-age=600' } })
  if (path === '/.well-known/openid-configuration') return Response.json(tokens.discovery)
  if (path.startsWith('/admin/')) return authAdmin(request, path)

  const { token } = credentials(request)
  const response = token ? await liteWith(request, await authToken(token)) : await lite(request)
  const body = await jsonOf(response)
  if (!body?.access_token) return response
  return replaceBody(response, { ...body, access_token: await tokens.outgoing(body.access_token, body.user) })
}

async function authToken(token) {
  try {
    return await tokens.incoming(await tokens.read(token))
  } catch {
    // GoTrue distinguishes a wrong signature (bad_jwt) from something that is not a token. Lite does so only for HS256.
    return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token) ? tokens.forged() : token
  }
}

async function authAdmin(request, path) {
  const { keyRole, token } = credentials(request)
  if (!keyRole) return lite(request)
  const refuse = (error_code, msg) => Response.json({ code: 403, error_code, msg }, { status: 403 })
  let role = keyRole
  if (token !== undefined) {
    try {
      ;({ role } = await tokens.verify(token))
    } catch (error) {
      return refuse('bad_jwt', `invalid JWT: unable to parse or verify signature, ${error.message}`)
    }
  }
  return role === 'service_role' ? admin(request, path) : refuse('not_admin', 'User not allowed')
}

const dataError = (status, code, message, details = null, hint = null) =>
  Response.json({ code, details, hint, message }, { status })

async function data(request, path) {
  const url = new URL(request.url)
  const select = url.searchParams.get('select')
  if (select?.includes('(')) {
    url.searchParams.set('select', nameForeignKeys(select, path.slice(1), foreignKeys, joined))
    request = new Request(url, request)
  }
  const { keyRole, token } = credentials(request)
  if (!keyRole) return lite(request)

  let role = keyRole
  let readable
  if (token !== undefined) {
    // Lite takes what does not look like a token for no token. PostgREST refuses it.
    const parts = token.split('.').length
    if (token === '') return dataError(401, 'PGRST301', 'Empty JWT is sent in Authorization header')
    if (parts !== 3) return dataError(401, 'PGRST301', `Expected 3 parts in JWT; got ${parts}`)
    let claims
    try {
      claims = await tokens.read(token)
    } catch {
      const details = 'None of the keys was able to decode the JWT'
      return dataError(401, 'PGRST301', 'No suitable key or wrong key type', details)
    }
    // PostgREST logs in as authenticator, which can become only these three roles. Lite can become any.
    role = claims.role ?? 'anon'
    if (!['anon', 'authenticated', 'service_role'].includes(role))
      return dataError(403, '42501', `permission denied to set role "${role}"`)
    readable = await tokens.incoming(claims, { leeway: true })
  }

  const outcome = {}
  const response = await databaseErrors.run(outcome, () => (readable ? liteWith(request, readable) : lite(request)))
  if (response.ok || !outcome.error) return response
  const { code, message, detail, hint } = outcome.error
  if (code === 'PGRST002') return dataError(503, code, message)
  if (/^(CONNECT|ECONN|EPIPE)/.test(code))
    return dataError(503, 'PGRST001', 'Database client error. Retrying the connection.')
  // Lite hides many of the database's errors behind a 500 and the code SUP. PostgREST passes them on.
  const body = await jsonOf(response)
  if (!/^[0-9A-Z]{5}$/.test(code) || body?.code?.startsWith('PGRST')) return response
  const shown = body?.code === code ? body.message : message
  return dataError(statusOf(code, role), code, shown, detail ?? null, hint ?? null)
}

/** PostgREST's HTTP status for an SQLSTATE (pgErrorStatus in its module Error). */
function statusOf(code, role) {
  const custom = /^PT(\d{3})$/.exec(code)
  if (custom) return Number(custom[1])
  const statuses = {
    '08': 503,
    '09': 500,
    '0L': 403,
    '0P': 403,
    23503: 409,
    23505: 409,
    25006: 405,
    25: 500,
    28: 403,
    '2D': 500,
    38: 500,
    39: 500,
    '3B': 500,
    40: 500,
    42501: role === 'anon' ? 401 : 403,
    42883: 404,
    '42P01': 404,
    '42P17': 500,
    53: 503,
    53400: 500,
    54: 500,
    55: 500,
    57: 500,
    '57P01': 503,
    58: 500,
    F0: 500,
    HV: 500,
    P0: 500,
    P0001: 400,
    XX: 500,
  }
  return statuses[code] ?? statuses[code.slice(0, 2)] ?? 400
}

const deadConnections = new WeakSet()

async function objects(request, { incoming }) {
  if (deadConnections.has(incoming.socket)) return new Promise(() => {})
  const [, path = '/'] = /^\/storage\/v1(\/.*)?$/.exec(new URL(request.url).pathname)
  const { keyRole, token } = credentials(request)
  const identify = async () => {
    // The hosted gateway turns an API key into a token of its role if the request has none.
    if (token === undefined && keyRole) return { role: keyRole, claims: { role: keyRole } }
    if (token === undefined)
      throw new StorageError(400, 'InvalidRequest', "headers must have required property 'authorization'", 'Error')
    try {
      const claims = await tokens.verify(token)
      return { role: claims.role ?? 'anon', sub: claims.sub, claims }
    } catch (error) {
      throw new StorageError(403, 'AccessDenied', error.message, 'Unauthorized')
    }
  }

  const own = await storage(request, path, identify, () => deadConnections.add(incoming.socket))
  if (own) return own
  const claims = token && (await tokens.read(token).catch(() => undefined))
  const response = claims ? await liteWith(request, await tokens.incoming(claims)) : await lite(request)
  // Storage-api's errors have a stable code in addition to the older `error`.
  const body = response.ok ? undefined : await jsonOf(response)
  if (!body || body.code || typeof body.statusCode !== 'string') return response
  const codes = { Duplicate: 'BucketAlreadyExists', 'Bucket not found': 'NoSuchBucket', Unauthorized: 'AccessDenied' }
  return replaceBody(response, { ...body, code: codes[body.error] ?? 'InvalidRequest' })
}

// On hosted projects and in `supabase start`, storage-api is a server of its own, behind a gateway that keeps its
// connections open and uses them for the next request of any client. What goes wrong on such a connection (see
// storage.mjs) has to go wrong here, too.
const storageServer = createAdaptorServer({ fetch: objects, autoCleanupIncoming: false })
storageServer.keepAliveTimeout = 72_000 // Fastify's
await new Promise((resolve) => storageServer.listen(0, '127.0.0.1', resolve))
const storageConnections = new Agent({ keepAlive: true })
const GATEWAY_TIMEOUT_MS = 60_000 // Kong's

/**
 * Passes a request on to storage as Kong does: the whole body first, over a kept connection. A body without a length is
 * passed on as it arrives, as Envoy does: storage has asked its policies then before the body ends.
 */
async function toStorage(request) {
  const { pathname, search } = new URL(request.url)
  const headers = Object.fromEntries(request.headers)
  delete headers.connection
  const chunked = request.body && !request.headers.has('content-length')
  const body = request.body && !chunked && Buffer.from(await request.arrayBuffer())
  return new Promise((resolve, reject) => {
    const upstream = httpRequest({
      host: '127.0.0.1',
      port: storageServer.address().port,
      agent: chunked ? false : storageConnections,
      method: request.method,
      path: `${pathname}${search}`,
      headers,
      signal: request.signal,
      timeout: GATEWAY_TIMEOUT_MS,
    })
    upstream.on('error', reject)
    upstream.on('timeout', () => {
      resolve(Response.json({ message: 'The upstream server is timing out' }, { status: 504 }))
      upstream.destroy()
    })
    upstream.on('response', async (answer) => {
      try {
        const chunks = await answer.toArray()
        const { connection: _, 'keep-alive': __, ...rest } = answer.headers
        const bodiless = request.method === 'HEAD' || [204, 304].includes(answer.statusCode)
        resolve(new Response(bodiless ? null : Buffer.concat(chunks), { status: answer.statusCode, headers: rest }))
      } catch (error) {
        reject(error)
      }
    })
    if (chunked) Readable.fromWeb(request.body).on('error', () => upstream.destroy()).pipe(upstream)
    else upstream.end(body)
  })
}

const routes = { auth, rest: data, storage: toStorage }

async function handle(request) {
  // A hosted project allows every origin; a preflight request needs no key.
  const cors = {
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS',
    'access-control-allow-headers': request.headers.get('access-control-request-headers') ?? '*',
    'access-control-expose-headers': 'Content-Range, Content-Location, X-Total-Count, Link',
    'access-control-max-age': '3600',
  }
  if (request.method === 'OPTIONS' && request.headers.has('access-control-request-method'))
    return new Response(null, { status: 204, headers: cors })

  const { pathname } = new URL(request.url)
  const [, service, path] = /^\/(auth|rest|storage)\/v1(\/.*)?$/.exec(pathname) ?? []
  let response
  try {
    response = service
      ? await routes[service](request, path ?? '/')
      : Response.json({ message: 'no Route matched with those values' }, { status: 404 })
  } catch (error) {
    console.error(request.method, pathname, error)
    response = Response.json({ message: 'An unexpected error occurred' }, { status: 500 })
  }
  const headers = new Headers(response.headers)
  for (const [name, value] of Object.entries(cors)) headers.set(name, value)
  return new Response(response.body, { status: response.status, headers })
}

const server = createAdaptorServer({ fetch: handle })
// nginx's, on which Kong is built. With Node's 5 s the server would close a kept connection just as a client uses it.
server.keepAliveTimeout = 75_000
server.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})
server.listen(Number(API_PORT), '127.0.0.1', () => console.log(`listening on ${SUPABASE_URL}`))

// The database client writes its buffer a moment later, and does not check whether its connection still exists. The
// requests on a lost connection have been answered with an error by then.
process.on('uncaughtException', (error) => {
  console.error(error)
  if (!/nextWrite .*postgres\/src\/connection\.js/.test(error.stack)) process.exit(1)
})

// It asks for the array types on each new connection, and does not look whether that fails because Postgres is going
// away or starting (postgres 3.4). What waited for the connection is answered with the same error.
process.on('unhandledRejection', (error) => {
  console.error(error)
  if (!/^(ECONN|EPIPE|CONNECTION_|57P0)/.test(error.code)) process.exit(1)
})

const stop = () => process.exit(0)
process.stdin.on('end', stop).resume()
process.on('SIGTERM', stop).on('SIGINT', stop)
