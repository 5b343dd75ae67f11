// GoTrue's admin API, which Lite does not have: create, list, read, update and delete users with the secret key.
// Lite handles passwords and the shape of a user: it signs users up and shows them. This adds the rest.
import { randomUUID } from 'node:crypto'

const answer = (status, error_code, msg) => Response.json({ code: status, error_code, msg }, { status })
const notFound = () => answer(404, 'user_not_found', 'User not found')

export function createAdmin({ sql, lite, tokens, publishableKey }) {
  const ask = (path, { token, ...init } = {}) =>
    lite(
      new Request(`http://127.0.0.1/auth/v1${path}`, {
        ...init,
        headers: {
          apikey: publishableKey,
          'content-type': 'application/json',
          ...(token && { authorization: `Bearer ${token}` }),
        },
      }),
    )

  const show = async (id) => (await ask('/user', { token: await tokens.internal(id) })).json()
  const exists = async (id) => (await sql`select from auth.users where id::text = ${id}`).length > 0

  const update = async (id, { email, password, user_metadata, app_metadata, email_confirm, ban_duration }) => {
    if (password !== undefined) {
      const body = JSON.stringify({ password })
      const response = await ask('/user', { method: 'PUT', body, token: await tokens.internal(id) })
      if (!response.ok) return response
    }
    await sql`
      update auth.users
      set email = coalesce(${email?.toLowerCase() ?? null}, email),
          email_confirmed_at = case when ${email_confirm ?? false} then now() else email_confirmed_at end,
          raw_user_meta_data = raw_user_meta_data || ${sql.json(user_metadata ?? {})},
          raw_app_meta_data = raw_app_meta_data || ${sql.json(app_metadata ?? {})},
          banned_until = case
              when ${ban_duration ?? null}::text = 'none' then null
              else coalesce(now() + ${ban_duration ?? null}::interval, banned_until)
          end,
          updated_at = now()
      where id = ${id}`
    return Response.json(await show(id))
  }

  const create = async (body) => {
    // Without a password, the user cannot sign in with one.
    const { email, password = randomUUID(), user_metadata = {} } = body
    const signup = JSON.stringify({ email, password, data: user_metadata })
    const response = await ask('/signup', { method: 'POST', body: signup })
    if (!response.ok) {
      const problem = await response.json()
      return problem.error_code === 'user_already_exists'
        ? answer(422, 'email_exists', 'A user with this email address has already been registered')
        : Response.json(problem, { status: response.status })
    }
    const { user } = await response.json()
    await sql`delete from auth.sessions where user_id = ${user.id}`
    return update(user.id, { app_metadata: body.app_metadata })
  }

  const list = async (url) => {
    const perPage = Number(url.searchParams.get('per_page') || 50)
    const page = Number(url.searchParams.get('page') || 1)
    const rows = await sql`
      select id from auth.users
      order by created_at desc, id
      limit ${perPage} offset ${(page - 1) * perPage}`
    const [{ total }] = await sql`select count(*)::integer as total from auth.users`
    const users = await Promise.all(rows.map((row) => show(row.id)))
    return Response.json({ users, aud: 'authenticated' }, { headers: { 'x-total-count': String(total) } })
  }

  /** Answers a request to /auth/v1/admin/users, whose caller has shown the secret key. */
  return async function handle(request, path) {
    const [, id] = /^\/admin\/users(?:\/([^/]+))?$/.exec(path) ?? []
    const body = ['POST', 'PUT'].includes(request.method) ? await request.json().catch(() => ({})) : {}
    if (id === undefined) return request.method === 'POST' ? create(body) : list(new URL(request.url))
    if (!(await exists(id))) return notFound()
    if (request.method === 'PUT') return update(id, body)
    if (request.method === 'DELETE') {
      await sql`delete from auth.users where id = ${id}`
      return Response.json({})
    }
    return Response.json(await show(id))
  }
}
