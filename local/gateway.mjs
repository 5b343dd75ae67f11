// The local Supabase's front door: @supabase/lite for Auth, the Data API and buckets, behind what mends its
// differences from a hosted project, so that clients and services need not know which one they talk to. Every mend
// stands beside a comment that says what the real thing does.
//
// Settings come from the environment (see stack.py). Ends with its parent: when stdin closes, so does this.
import { readFile } from 'node:fs/promises'
import { createAdaptorServer } from '@hono/node-server'
import postgres from 'postgres'
import { createAdmin } from './admin.mjs'
import { createStorage, StorageError } from './storage.mjs'
import { createTokens } from './tokens.mjs'

// Lite makes the tables of storage only when told so; it reads the variable while it is being loaded.
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
const connection = createPostgresConnection({
  url: `postgresql://supabase_admin:${POSTGRES_PASSWORD}@127.0.0.1:${POSTGRES_PORT}/postgres`,
  postgresOptions: {
    max: 20,
    onnotice: () => {},
    types: { timestamp: isoTime(1114), timestamptz: isoTime(1184) },
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
// Lite wants somewhere to keep objects; here it only keeps their buckets.
app._storageAdapter = {}
await app.init()

// Lite grants ALL on every table of the exposed schemas to anon, authenticated and service_role with the first
// request that finds row level security, and skips row level security for good on a connection whose first request
// found none. A hosted project does neither: told that the work is done, Lite leaves grants alone and always takes
// on the caller's role.
connection.rlsState = 'active'

await prepareDatabase()
const sql = {
  auth: database('supabase_auth_admin', { max: 5 }),
  storage: database('supabase_storage_admin', { max: 20 }),
}
const tokens = await createTokens({ url: SUPABASE_URL, jwtSecret, signingKey: JSON.parse(SIGNING_KEY) })
const lite = async (request) => app.fetch(request, { peerAddress: null })
const storage = createStorage({ sql: sql.storage, directory: STORAGE_DIRECTORY, tokens })
const admin = createAdmin({ sql: sql.auth, lite, tokens, publishableKey })
listenForSchemaChanges()

async function prepareDatabase() {
  const root = database('supabase_admin', { max: 1 })
  try {
    const [ready] = await root`select from pg_roles where rolname = 'supabase_storage_admin'`
    if (ready) return
    await app.ensureSystemSchema()
    const platform = await readFile(new URL('hosted.sql', import.meta.url), 'utf8')
    await root.begin(async (tx) => {
      await tx.unsafe(platform)
      for (const role of ['postgres', 'authenticator', 'supabase_auth_admin', 'supabase_storage_admin'])
        await tx.unsafe(`alter role ${role} password '${POSTGRES_PASSWORD}'`)
    })
  } finally {
    await root.end()
  }
}

/** PostgREST reloads its schema cache on `notify pgrst`, and after every reconnection; Lite never does. */
function listenForSchemaChanges() {
  const reload = () => connection.clearSchemaCache()
  const again = () => setTimeout(listenForSchemaChanges, 200)
  const listener = database('supabase_admin', {
    max: 1,
    idle_timeout: null,
    max_lifetime: null,
    fetch_types: false,
    onnotify: reload,
    onclose: () => {
      listener.end()
      again()
    },
  })
  listener.unsafe('listen pgrst').then(reload, () => {})
}

const bearer = (request) => /^Bearer\s+(.+)$/i.exec(request.headers.get('authorization') ?? '')?.[1]
const roleOfKey = (key) => ({ [publishableKey]: 'anon', [secretKey]: 'service_role' })[key]

function withHeaders(request, change) {
  const headers = new Headers(request.headers)
  change(headers)
  return new Request(request, { headers })
}

/** Lite's request for ours: a token of ours becomes one that Lite reads. */
async function forward(request, options) {
  const token = bearer(request)
  if (!token || token.startsWith('sb_')) return lite(request)
  const readable = await tokens.incoming(token, options)
  return lite(withHeaders(request, (headers) => headers.set('authorization', `Bearer ${readable}`)))
}

async function jsonOf(response) {
  if (!response.headers.get('content-type')?.includes('json')) return undefined
  return response.clone().json().catch(() => undefined)
}

function replaceBody(response, body, status = response.status) {
  const headers = new Headers(response.headers)
  headers.delete('content-length')
  headers.set('content-type', 'application/json')
  return new Response(JSON.stringify(body), { status, headers })
}

async function auth(request, path) {
  if (path === '/.well-known/jwks.json')
    return Response.json(tokens.jwks, { headers: { 'cache-control': 'public, max-age=600' } })
  if (path.startsWith('/admin/')) return authAdmin(request, path)

  const response = await forward(request)
  const body = await jsonOf(response)
  if (body === undefined) return response
  if (body?.access_token) body.access_token = await tokens.outgoing(body.access_token, body.user)
  return replaceBody(response, body)
}

async function authAdmin(request, path) {
  const key = request.headers.get('apikey')
  const refuse = (status, error_code, msg) => Response.json({ code: status, error_code, msg }, { status })
  if (!roleOfKey(key)) return Response.json({ message: 'Invalid API key' }, { status: 401 })
  const token = bearer(request)
  let role = roleOfKey(token ?? key)
  if (token && !role) {
    try {
      ;({ role } = await tokens.verify(token))
    } catch (error) {
      return refuse(403, 'bad_jwt', `invalid JWT: unable to parse or verify signature, ${error.message}`)
    }
  }
  if (role !== 'service_role') return refuse(403, 'not_admin', 'User not allowed')
  return admin(request, path)
}

async function data(request) {
  // PostgREST allows clocks to differ by 30 seconds.
  const response = await forward(request, { leeway: true })
  if (response.ok) return response
  const body = await jsonOf(response)
  const status = typeof body?.code === 'string' && httpStatus(body.code, request)
  return status && status !== response.status ? replaceBody(response, body, status) : response
}

/** PostgREST's status for an SQLSTATE (its module Error); Lite answers 500 for many of them. */
function httpStatus(code, request) {
  if (!/^[0-9A-Z]{5}$/.test(code) || code.startsWith('PGRST')) return undefined
  const custom = /^PT(\d{3})$/.exec(code)
  if (custom) return Number(custom[1])
  const token = bearer(request)
  const anonymous = !token || roleOfKey(token) === 'anon'
  const table = {
    23503: 409,
    23505: 409,
    25006: 405,
    42883: 404,
    '42P01': 404,
    '42P17': 500,
    42501: anonymous && roleOfKey(request.headers.get('apikey')) !== 'service_role' ? 401 : 403,
    '57P01': 503,
    P0001: 400,
    '08': 503,
    '09': 500,
    '0L': 403,
    '0P': 403,
    25: 500,
    28: 403,
    '2D': 500,
    38: 500,
    39: 500,
    '3B': 500,
    40: 500,
    53: 503,
    54: 500,
    55: 500,
    57: 500,
    58: 500,
    F0: 500,
    HV: 500,
    P0: 500,
    XX: 500,
  }
  return table[code] ?? table[code.slice(0, 2)] ?? 400
}

async function objects(request, path) {
  const identify = async () => {
    const key = request.headers.get('apikey')
    const token = bearer(request)
    // The hosted gateway turns an API key into a token of its role where the request brings no token.
    const role = roleOfKey(token) ?? (token ? undefined : roleOfKey(key))
    if (role) return { role, claims: { role } }
    if (!token)
      throw new StorageError(400, 'InvalidRequest', "headers must have required property 'authorization'", 'Error')
    let claims
    try {
      claims = await tokens.verify(token)
    } catch (error) {
      throw new StorageError(403, 'AccessDenied', error.message, 'Unauthorized')
    }
    return { role: claims.role ?? 'anon', sub: claims.sub, claims }
  }

  const response = (await storage(request, path, identify)) ?? (await forward(request))
  // Storage-api's errors name a stable code beside the older `error`.
  const body = response.ok ? undefined : await jsonOf(response)
  if (!body || body.code) return response
  const codes = { Duplicate: 'BucketAlreadyExists', 'Bucket not found': 'NoSuchBucket', Unauthorized: 'AccessDenied' }
  return replaceBody(response, { ...body, code: codes[body.error] ?? 'InvalidRequest' })
}

const routes = { auth, rest: data, storage: objects }

async function handle(request) {
  // A hosted project lets every origin in; the browser's own question needs no key.
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
server.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})
server.listen(Number(API_PORT), '127.0.0.1', () => console.log(`listening on ${SUPABASE_URL}`))

const stop = () => process.exit(0)
process.stdin.on('end', stop).resume()
process.on('SIGTERM', stop).on('SIGINT', stop)
