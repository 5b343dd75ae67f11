// The internal parts of @supabase/lite that the gateway uses. Another version may have renamed any of them, so check
// their names at the start, and do not wait for an answer that is slightly wrong.
import { readFileSync } from 'node:fs'

const TRIED = '0.10.0'
const PRIVATE = {
  app: ['_storageAdapter', 'ensureSystemSchema', 'fetch', 'init', 'server'],
  connection: ['applyJwtSessionContext', 'clearSchemaCache', 'introspect', 'normalizeDbError', 'rlsState'],
}

/** Throws unless Lite has all the internal parts that the gateway uses. */
export function assertLite(app, connection) {
  const manifest = new URL('../package.json', import.meta.resolve('@supabase/lite'))
  const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
  const missing = Object.entries({ app, connection }).flatMap(([name, object]) =>
    PRIVATE[name].filter((property) => !(property in object)).map((property) => `${name}.${property}`),
  )
  if (missing.length > 0)
    throw new Error(
      `@supabase/lite ${version} has no ${missing.join(', ')}. The local stack was written for ${TRIED} and uses these` +
        ` private names: install that version, or adapt local/gateway.mjs.`,
    )
}
