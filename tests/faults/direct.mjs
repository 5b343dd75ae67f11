// Runs the example of docs/direct.md, AT_ONCE times at the same moment, with supabase-js as it
// is. Prints what each run was told.
import { readFileSync } from 'node:fs'
import { createClient } from '@supabase/supabase-js'

const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, TOKEN, USER_ID, SESSION_ID, SIZE, AT_ONCE } = process.env
const supabase = createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, { accessToken: async () => TOKEN })

const page = readFileSync(new URL('../../docs/direct.md', import.meta.url), 'utf8')
const [, example] = /```js\n(const bytes = [^]*?)```/.exec(page)
const AsyncFunction = (async () => {}).constructor
const approve = new AsyncFunction('supabase', 'user', 'sessionId', 'version', 'title', 'content', 'router', `${example}\nreturn data`)

const content = 'x'.repeat(Number(SIZE))
const router = { push() {} }
const run = () => approve(supabase, { id: USER_ID }, SESSION_ID, 1, 'A plan', content, router)
console.log(JSON.stringify(await Promise.all(Array.from({ length: Number(AT_ONCE) }, run))))
process.exit()
