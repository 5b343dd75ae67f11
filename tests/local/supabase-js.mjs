// supabase-js, unchanged, through everything that an application does with it. Prints what it saw.
import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { createClient } from '@supabase/supabase-js'

const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, SUPABASE_SECRET_KEY } = process.env
const options = { auth: { persistSession: false, autoRefreshToken: false } }
const client = createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, options)

async function succeeds(answer) {
  const { data, error } = await answer
  assert.equal(error, null)
  return data
}

const credentials = { email: `${randomUUID()}@example.com`, password: 'correct horse' }
await succeeds(client.auth.signUp(credentials))
await succeeds(client.auth.signInWithPassword(credentials))
const { claims } = await succeeds(client.auth.getClaims())
const { user } = await succeeds(client.auth.getUser())
assert.equal(claims.sub, user.id)

const document = '# Plan\n\nWörter, 計画 ☕️\n'
const sha256 = createHash('sha256').update(document).digest('hex')
const path = `${user.id}/s/${sha256}.md`
const loose = `${user.id}/s/${'0'.repeat(64)}.md`
const documents = client.storage.from('plans')
const blob = new Blob([document], { type: 'text/markdown' })
await succeeds(documents.upload(path, blob))
await succeeds(documents.upload(loose, document, { contentType: 'text/markdown' }))
const { signedUrl } = await succeeds(documents.createSignedUrl(path, 60))
assert.equal(await (await fetch(signedUrl)).text(), document)
assert.equal(await (await succeeds(documents.download(path))).text(), document)
assert.equal((await succeeds(documents.list(user.id)))[0].name, 's')
assert.equal((await succeeds(documents.info(path))).contentType, 'text/markdown')
assert.equal((await documents.exists(path)).data, true)
assert.equal((await succeeds(documents.createSignedUrls([path], 60)))[0].error, null)
assert.equal((await documents.upload(path, blob)).error.statusCode, '409')

const upload = await succeeds(documents.createSignedUploadUrl(`${user.id}/s/${'1'.repeat(64)}.md`))
await succeeds(documents.uploadToSignedUrl(upload.path, upload.token, blob))

const approval = await succeeds(
  client.rpc('approve_plan', {
    session_id: 's',
    version: 1,
    title: 'A plan',
    document_sha256: sha256,
    document_url: signedUrl,
  }),
)
const agents = await succeeds(client.from('agent').select('*,plan(*),agent_event(*)'))
const removed = await succeeds(documents.remove([loose]))
assert.equal((await documents.remove([path])).error.statusCode, '409')

const admin = createClient(SUPABASE_URL, SUPABASE_SECRET_KEY, options)
await succeeds(admin.auth.admin.deleteUser(user.id))
assert.deepEqual(await succeeds(admin.from('agent').select('id').eq('user_id', user.id)), [])

console.log(
  JSON.stringify({
    created: approval.created,
    agents: agents.length,
    events: agents[0].agent_event.map((event) => event.kind),
    removed: removed.length,
  }),
)
