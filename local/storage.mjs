// The object routes of the Storage API, over the tables that Lite made. Lite keeps an object's bytes under its key,
// writes them before the row and removes them before the row, so a refused delete or a race loses them. The real
// storage-api gives every upload a version of its own, asks the database first and lets the row decide; so does this.
// Routes, statements, order of checks and errors follow storage-api's src/http/routes/object and src/storage.
import { createHash, randomUUID } from 'node:crypto'
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const MAX_OBJECT_BYTES = 50 * 1024 * 1024
// Observed with storage-api 1.70.6: if an upload is refused before its body was read, and this much of it or more is
// unread, no later request on that connection is ever answered. 100 kB did no harm, 200 kB always did.
const STOPS_READING_BYTES = 150_000
const SIGNED_UPLOAD_SECONDS = 2 * 60 * 60
const VALID_KEY = /^[A-Za-z0-9_/!.*'() &$=@;:+,?-]+$/

/** Answers HTTP 400 with the real status as a string in the body, whatever the status (except 500 and 544). */
export class StorageError extends Error {
  constructor(status, code, message, error = code) {
    super(message)
    Object.assign(this, { status, code, error })
  }

  toResponse() {
    const { status, code, error, message } = this
    return Response.json({ statusCode: String(status), error, message, code }, { status: status >= 500 ? status : 400 })
  }
}

const errors = {
  accessDenied: (message) => new StorageError(403, 'AccessDenied', message, 'Unauthorized'),
  entityTooLarge: () =>
    new StorageError(413, 'EntityTooLarge', 'The object exceeded the maximum allowed size', 'Payload too large'),
  invalidKey: (key) => new StorageError(400, 'InvalidKey', `Invalid key: ${key}`),
  invalidRequest: (message) => new StorageError(400, 'InvalidRequest', message),
  keyAlreadyExists: () => new StorageError(409, 'KeyAlreadyExists', 'The resource already exists', 'Duplicate'),
  invalidMimeType: (type) =>
    new StorageError(415, 'InvalidMimeType', `mime type ${type} is not supported`, 'invalid_mime_type'),
  noSuchBucket: () => new StorageError(404, 'NoSuchBucket', 'Bucket not found', 'Bucket not found'),
  noSuchKey: () => new StorageError(404, 'NoSuchKey', 'Object not found', 'not_found'),
  noSuchBytes: () => new StorageError(404, 'NoSuchKey', 'The resource was not found', 'Not found'),
  bucketNotEmpty: () =>
    new StorageError(409, 'ResourceNotEmpty', 'The bucket you tried to delete is not empty'),
}

function fromDatabase(error) {
  switch (error.code) {
    case '42501':
      return errors.accessDenied(
        error.message.includes('row-level security') ? 'new row violates row-level security policy' : error.message,
      )
    case '23505':
      return new StorageError(409, 'ResourceAlreadyExists', 'The resource already exists', 'Duplicate')
    case '23503':
      return error.detail?.includes('is still referenced from table')
        ? new StorageError(
            409,
            'ResourceReferenced',
            'The resource could not be updated or removed due to a foreign key constraint',
          )
        : new StorageError(404, 'InvalidRequest', 'The related resource does not exist')
    case '55P03':
      return new StorageError(423, 'ResourceLocked', 'The resource is locked')
    case '57014':
      return new StorageError(544, 'DatabaseTimeout', 'The connection to the database timed out')
    case '22P02':
      return new StorageError(400, 'InvalidParameter', error.message)
    default:
      return new StorageError(500, 'DatabaseError', `database error, code: ${error.code}`)
  }
}

const isUuid = (value) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value ?? '')

export function createStorage({ sql, directory, tokens }) {
  const pathOf = (version) => join(directory, version)
  const discard = (version) => version && rm(pathOf(version), { force: true })

  /** One transaction as the caller, as storage-api opens it: role, claims, and what the request is about. */
  const as = (caller, operation, work) =>
    sql.begin(async (tx) => {
      await tx`
        select
            set_config('role', ${caller.role}, true),
            set_config('request.jwt.claim.role', ${caller.role}, true),
            set_config('request.jwt.claim.sub', ${caller.sub ?? ''}, true),
            set_config('request.jwt.claims', ${JSON.stringify(caller.claims)}, true),
            set_config('storage.operation', ${operation}, true),
            set_config('storage.allow_delete_query', 'true', true)`
      return work(tx)
    })

  const superuser = (operation, work) =>
    sql.begin(async (tx) => {
      await tx`
        select
            set_config('storage.operation', ${operation}, true),
            set_config('storage.allow_delete_query', 'true', true)`
      return work(tx)
    })

  /**
   * Whether the caller, or storage-api itself, may write this row: it writes it, so that the policies apply, and rolls
   * back. What is found here may have changed by the time the body has arrived, and complete() asks no policy.
   */
  const probe = async (caller, operation, row, upsert) => {
    const allowed = Symbol('allowed')
    const versioned = await isVersioned(row.bucket_id)
    const attempt = async (tx) => {
      await (upsert ? upsertObject(tx, row, versioned) : tx`insert into storage.objects ${tx(row)}`)
      throw allowed
    }
    try {
      await (caller ? as(caller, operation, attempt) : superuser(operation, attempt))
    } catch (error) {
      if (error === allowed) return
      throw error.code === '23505' && !upsert ? errors.keyAlreadyExists() : error
    }
  }

  const isVersioned = async (bucket) => (await findBucket(bucket)).versioning_status === 'ENABLED'

  const upsertObject = async (tx, row, versioned) => {
    const { bucket_id: bucket, name, ...rest } = row
    if (!versioned)
      return tx`
        insert into storage.objects ${tx(row)}
        on conflict (bucket_id, name) where archived_at is null do update set ${tx(rest)}
        returning id`
    await tx`
      update storage.objects set archived_at = now()
      where bucket_id = ${bucket} and name = ${name} and archived_at is null`
    return tx`insert into storage.objects ${tx({ ...row, is_versioned: true })} returning id`
  }

  /** What a delete is in a versioned bucket: the row stays, archived, and one without bytes takes its place. */
  const isMarked = async (operation, bucket, names) => {
    if (!(await isVersioned(bucket))) return false
    for (const name of names) {
      const marker = { bucket_id: bucket, name, version: randomUUID(), is_delete_marker: true }
      await superuser(operation, (tx) => upsertObject(tx, marker, true))
    }
    return true
  }

  const rowOf = (caller, bucket, name, rest) => ({
    bucket_id: bucket,
    name,
    ...(caller.sub && { owner_id: caller.sub }),
    ...(isUuid(caller.sub) && { owner: caller.sub }),
    ...rest,
  })

  const findBucket = async (bucket) => {
    const [row] = await sql`select * from storage.buckets where id = ${bucket}`
    if (!row) throw errors.noSuchBucket()
    return row
  }

  const findObject = async (caller, operation, bucket, name) => {
    if (!VALID_KEY.test(name)) throw errors.invalidKey(name)
    const select = (tx) => tx`
      select * from storage.objects
      where bucket_id = ${bucket} and name = ${name} and archived_at is null and not is_delete_marker`
    const [row] = await (caller ? as(caller, operation, select) : select(sql))
    if (!row) throw errors.noSuchKey()
    return row
  }

  /**
   * Replaces the bytes at the key by those of a new version, as storage-api's own role: no policy is asked. If uploads
   * race, the last one wins, unless a trigger refuses it.
   */
  const complete = async (operation, row) => {
    const versioned = await isVersioned(row.bucket_id)
    const [id, previous] = await superuser(operation, async (tx) => {
      await tx`select pg_advisory_xact_lock(hashtextextended(${`${row.bucket_id}/${row.name}`}, 0))`
      const [current] = await tx`
        select version from storage.objects
        where bucket_id = ${row.bucket_id} and name = ${row.name} and archived_at is null
        for update`
      const [{ id }] = await upsertObject(tx, row, versioned)
      return [id, versioned ? undefined : current?.version]
    })
    await discard(previous)
    return id
  }

  const limitOf = (bucket) => Math.min(bucket.file_size_limit ?? MAX_OBJECT_BYTES, MAX_OBJECT_BYTES)

  const assertType = (bucket, type = '') => {
    const [main, sub] = type.split('/')
    const allowed = bucket.allowed_mime_types ?? []
    const matches = (entry) => entry === `${main}/*` || entry === `${main}/${sub}`
    if (allowed.length > 0 && !(sub && allowed.some(matches))) throw errors.invalidMimeType(type)
  }

  const readUpload = async (request, bucket) => {
    const limit = limitOf(bucket)
    const contentType = request.headers.get('content-type') ?? ''
    const upload = { cacheControl: 'no-cache', userMetadata: null }

    if (contentType.startsWith('multipart/form-data')) {
      let form
      try {
        form = await request.formData()
      } catch {
        throw errors.invalidRequest('No content provided')
      }
      // The clients name the part '', 'file' or after the file: the first one is it.
      const file = [...form.values()].find((value) => typeof value !== 'string')
      if (!file) throw errors.invalidRequest('No content provided')
      const field = (name) => (typeof form.get(name) === 'string' ? form.get(name) : undefined)
      // The form parser drops parameters such as charset; a raw body's are kept, and then refused.
      upload.mimetype = field('contentType') ?? file.type.split(';')[0]
      if (field('cacheControl')) upload.cacheControl = `max-age=${field('cacheControl')}`
      upload.userMetadata = parseJson(field('metadata') ?? field('userMetadata'))
      assertType(bucket, upload.mimetype)
      if (file.size > limit) throw errors.entityTooLarge()
      upload.bytes = Buffer.from(await file.arrayBuffer())
    } else {
      upload.mimetype = contentType || 'application/octet-stream'
      upload.cacheControl = request.headers.get('cache-control') ?? 'no-cache'
      const metadata = request.headers.get('x-metadata')
      upload.userMetadata = metadata && parseJson(Buffer.from(metadata, 'base64').toString())
      assertType(bucket, upload.mimetype)
      // A chunked body has no length, and the real storage-api lets it pass the bucket's limit.
      if (Number(request.headers.get('content-length')) > limit) throw errors.entityTooLarge()
      upload.bytes = Buffer.from(await request.arrayBuffer())
    }
    return upload
  }

  const parseJson = (text) => {
    try {
      return JSON.parse(text)
    } catch {
      return null
    }
  }

  const upload = async (request, caller, operation, bucketId, name, { upsert, asOwner, abandonConnection }) => {
    const bucket = await findBucket(bucketId)
    const contentLength = Number(request.headers.get('content-length'))
    // A signed upload URL is itself the permission; without `upsert` it does not allow to replace an object.
    const check = (row) => probe(asOwner ? undefined : caller, operation, row, upsert)
    // storage-api asks the database before it reads any body. That matters for bodies that are large or arrive slowly,
    // so only those are handled in this way: the content type of a small one is known first.
    const large = contentLength >= STOPS_READING_BYTES
    const early = large || !contentLength
    if (early)
      await check(rowOf(caller, bucketId, name, { version: '1' })).catch((error) => {
        if (large) abandonConnection?.()
        throw error
      })
    const file = await readUpload(request, bucket)
    if (!VALID_KEY.test(name)) throw errors.invalidKey(name)
    const row = (metadata, version) =>
      rowOf(caller, bucketId, name, { metadata, user_metadata: file.userMetadata, version })
    if (!early) await check(row({ mimetype: file.mimetype, contentLength }, '1'))
    return { Id: await store(operation, file, row), Key: `${bucketId}/${name}` }
  }

  /** Keeps the bytes and writes their row, or neither. */
  const store = async (operation, file, row) => {
    const version = randomUUID()
    try {
      await mkdir(directory, { recursive: true })
      await writeFile(pathOf(version), file.bytes)
      const metadata = {
        eTag: `"${createHash('md5').update(file.bytes).digest('hex')}"`,
        size: file.bytes.length,
        mimetype: file.mimetype,
        cacheControl: file.cacheControl,
        lastModified: new Date().toISOString(),
        contentLength: file.bytes.length,
        httpStatusCode: 200,
      }
      return await complete(operation, row(metadata, version))
    } catch (error) {
      // After a lost connection it is unknown whether the row exists. Then keep the bytes: it does less harm to have too
      // many than too few.
      if (error.name === 'PostgresError') await discard(version)
      throw error
    }
  }

  const download = async (request, object, { expires } = {}) => {
    const { metadata, version } = object
    const headers = new Headers({
      'accept-ranges': 'bytes',
      'cache-control': metadata.cacheControl,
      'content-type': metadata.mimetype,
      etag: metadata.eTag,
      'last-modified': new Date(metadata.lastModified).toUTCString(),
      'x-robots-tag': 'none',
    })
    if (expires) headers.set('expires', new Date(expires * 1000).toUTCString())
    const name = new URL(request.url).searchParams.get('download')
    if (name !== null) {
      const filename = encodeURIComponent(name || object.name.split('/').at(-1))
      headers.set('content-disposition', `attachment; filename=${filename}; filename*=UTF-8''${filename};`)
    }
    if (request.headers.get('if-none-match') === metadata.eTag) return new Response(null, { status: 304, headers })

    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get('range') ?? '')
    const start = range ? Number(range[1]) : 0
    const end = range?.[2] ? Math.min(Number(range[2]), metadata.size - 1) : metadata.size - 1
    if (range) {
      if (start > end) throw new StorageError(400, 'InvalidRange', 'invalid range provided', 'invalid_range')
      headers.set('content-range', `bytes ${start}-${end}/${metadata.size}`)
    }
    headers.set('content-length', String(end - start + 1))
    if (request.method === 'HEAD') return new Response(null, { headers })
    const bytes = await readFile(pathOf(version)).catch((error) => {
      // Replaced or removed since its row was read.
      throw error.code === 'ENOENT' ? errors.noSuchBytes() : error
    })
    return new Response(bytes.subarray(start, end + 1), { status: range ? 206 : 200, headers })
  }

  const info = ({ id, name, version, bucket_id, metadata, user_metadata, updated_at, created_at }) =>
    Response.json({
      id,
      name,
      version,
      bucket_id,
      size: metadata.size ?? null,
      content_type: metadata.mimetype ?? null,
      cache_control: metadata.cacheControl ?? null,
      etag: metadata.eTag ?? null,
      metadata: user_metadata,
      last_modified: updated_at,
      created_at,
    })

  const signedUrl = async (bucket, name, expiresIn) => {
    const token = await tokens.signUrl({ url: `${bucket}/${name}`, scope: 'download' }, expiresIn)
    return `/object/sign/${bucket}/${name}?token=${token}`
  }

  const verifySignedUrl = (request, bucket, name, scope) =>
    verifySignature(new URL(request.url).searchParams.get('token') ?? '', bucket, name, scope)

  const verifySignature = async (token, bucket, name, scope) => {
    let claims
    try {
      claims = await tokens.verifyUrl(token)
    } catch (error) {
      throw new StorageError(400, 'InvalidJWT', error.message)
    }
    if (claims.scope !== scope || claims.url !== `${bucket}/${name}`)
      throw new StorageError(400, 'InvalidSignature', 'Invalid signature')
    return claims
  }

  const expiry = ({ expiresIn }) => {
    // storage3 sends a string; the real storage-api turns it into a number.
    const seconds = Number(expiresIn)
    if (!Number.isInteger(seconds)) throw errors.invalidRequest('body/expiresIn must be integer')
    if (seconds < 1) throw errors.invalidRequest('body/expiresIn must be >= 1')
    return seconds
  }

  // Resumable uploads, as far as TUS 1.0.0 is needed to send a document in parts: what has arrived of each, by the id in
  // its URL.
  const resumable = new Map()
  const tus = (status, headers) => new Response(null, { status, headers: { 'tus-resumable': '1.0.0', ...headers } })

  /** Errors of this protocol have the real status and a text. Anything else passes. */
  const asTus = async (work) => {
    try {
      return await work()
    } catch (error) {
      const known = error.name === 'PostgresError' ? fromDatabase(error) : error
      if (!(known instanceof StorageError)) throw error
      return new Response(known.message, { status: known.status, headers: { 'tus-resumable': '1.0.0' } })
    }
  }

  /** Who sends a part, and whether they may: asked for each part, before it is read. */
  const admit = async (request, caller, operation, bucket, name) => {
    if (!caller) {
      const { owner } = await verifySignature(request.headers.get('x-signature') ?? '', bucket, name, 'upload')
      return { sub: owner }
    }
    const upsert = request.headers.get('x-upsert') === 'true'
    await probe(caller, operation, rowOf(caller, bucket, name, { version: '1' }), upsert)
    return caller
  }

  const createResumable = ({ request, caller }) => asTus(async () => {
    const { bucketName, objectName, contentType, cacheControl } = Object.fromEntries(
      (request.headers.get('upload-metadata') ?? '').split(',').map((pair) => {
        const [key, value = ''] = pair.trim().split(' ')
        return [key, Buffer.from(value, 'base64').toString()]
      }),
    )
    if (!VALID_KEY.test(objectName ?? '')) throw errors.invalidKey(objectName)
    const owner = await admit(request, caller, 'storage.tus.upload.create', bucketName, objectName)
    const bucket = await findBucket(bucketName)
    const size = Number(request.headers.get('upload-length'))
    if (size > limitOf(bucket)) throw new StorageError(413, 'EntityTooLarge', 'Maximum size exceeded')
    assertType(bucket, contentType)
    const id = randomUUID()
    const headers = { mimetype: contentType, cacheControl: `max-age=${cacheControl ?? 3600}`, userMetadata: null }
    resumable.set(id, { bucket: bucketName, name: objectName, owner, size, headers, bytes: Buffer.alloc(0) })
    return tus(201, { location: `${new URL(request.url).pathname}/${id}`, 'upload-offset': '0' })
  })

  const continueResumable = ({ request, caller, bucket: id }) => asTus(async () => {
    const found = resumable.get(id)
    if (!found) throw new StorageError(404, 'NoSuchUpload', 'The file for this url was not found')
    const { bucket, name, size, headers } = found
    const offset = () => ({ 'upload-offset': String(found.bytes.length), 'upload-length': String(size) })
    if (request.method === 'HEAD') return tus(200, offset())

    const operation = 'storage.tus.upload.part'
    const owner = await admit(request, caller, operation, bucket, name)
    if (Number(request.headers.get('upload-offset')) !== found.bytes.length)
      throw new StorageError(409, 'InvalidOffset', 'Upload-Offset conflict')
    found.bytes = Buffer.concat([found.bytes, Buffer.from(await request.arrayBuffer())])
    if (found.bytes.length === size) {
      const row = (metadata, version) => rowOf(owner, bucket, name, { metadata, user_metadata: null, version })
      await store(operation, { ...headers, bytes: found.bytes }, row)
    }
    return tus(204, offset())
  })

  // The routes, in the order in which the real router tries them: [method, path, needs a token, handler].
  const routes = [
    ['POST', /^\/object\/list\/([^/]+)$/, async ({ json, caller, bucket }) => {
      const { prefix = '', limit = 100, offset = 0, search = '', sortBy = {} } = await json()
      const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
      const column = ['name', 'updated_at', 'created_at', 'last_accessed_at'].includes(sortBy.column)
        ? sortBy.column
        : 'name'
      const direction = sortBy.order === 'desc' ? sql`desc` : sql`asc`
      const rows = await as(caller, 'storage.object.list', (tx) => tx`
        with inside as (
            select substr(name, length(${folder}::text) + 1) as rest, * from storage.objects
            where bucket_id = ${bucket} and starts_with(name, ${folder}) and archived_at is null and not is_delete_marker
        ), entries as (
            select rest as entry, id, updated_at, created_at, last_accessed_at, metadata from inside
            where position('/' in rest) = 0
            union all
            select distinct split_part(rest, '/', 1), null::uuid, null::timestamptz, null::timestamptz,
                null::timestamptz, null::jsonb
            from inside where position('/' in rest) > 0
        )
        select entry as name, id, updated_at, created_at, last_accessed_at, metadata from entries
        where entry ilike ${`${search}%`}
        order by ${column === 'name' ? sql`entry collate "C"` : sql(column)} ${direction}
        limit ${limit} offset ${offset}`)
      return Response.json(rows)
    }],

    ['POST', /^\/object\/move$/, async ({ json, caller }) => {
      const { bucketId, sourceKey, destinationKey, destinationBucket = bucketId } = await json()
      if (!VALID_KEY.test(destinationKey)) throw errors.invalidKey(destinationKey)
      // The bytes stay where they are: their place depends on the version, not on the key.
      const [moved] = await as(caller, 'storage.object.move', async (tx) => {
        const [source] = await tx`
          select id from storage.objects
          where bucket_id = ${bucketId} and name = ${sourceKey} and archived_at is null`
        if (!source) throw errors.noSuchKey()
        return tx`
          update storage.objects
          set bucket_id = ${destinationBucket}, name = ${destinationKey}, owner_id = ${caller.sub ?? null}
          where bucket_id = ${bucketId} and name = ${sourceKey} and archived_at is null
          returning id`
      })
      if (!moved) throw errors.noSuchKey()
      return Response.json({ message: 'Successfully moved' })
    }],

    ['POST', /^\/object\/copy$/, async ({ request, json, caller }) => {
      const { bucketId, sourceKey, destinationKey, destinationBucket = bucketId } = await json()
      if (!VALID_KEY.test(destinationKey)) throw errors.invalidKey(destinationKey)
      const operation = 'storage.object.copy'
      const source = await findObject(caller, operation, bucketId, sourceKey)
      const version = randomUUID()
      const row = rowOf(caller, destinationBucket, destinationKey, {
        metadata: source.metadata,
        user_metadata: source.user_metadata,
        version,
      })
      await probe(caller, operation, row, request.headers.get('x-upsert') === 'true')
      await copyFile(pathOf(source.version), pathOf(version))
      const id = await complete(operation, row)
      return Response.json({ Id: id, Key: `${destinationBucket}/${destinationKey}`, ...row, id })
    }],

    ['POST', /^\/object\/upload\/sign\/([^/]+)\/(.+)$/, async ({ request, caller, bucket, name }) => {
      if (!VALID_KEY.test(name)) throw errors.invalidKey(name)
      const upsert = request.headers.get('x-upsert') === 'true'
      await probe(caller, 'storage.object.sign_upload_url', rowOf(caller, bucket, name, { version: '1' }), upsert)
      const claims = { owner: caller.sub, url: `${bucket}/${name}`, upsert, scope: 'upload' }
      const token = await tokens.signUrl(claims, SIGNED_UPLOAD_SECONDS)
      return Response.json({ url: `/object/upload/sign/${bucket}/${name}?token=${token}`, token })
    }],

    ['POST', /^\/object\/sign\/([^/]+)\/(.+)$/, async ({ json, caller, bucket, name }) => {
      const expiresIn = expiry(await json())
      await findObject(caller, 'storage.object.sign', bucket, name)
      return Response.json({ signedURL: await signedUrl(bucket, name, expiresIn) })
    }],

    ['POST', /^\/object\/sign\/([^/]+)$/, async ({ json, caller, bucket }) => {
      const body = await json()
      const expiresIn = expiry(body)
      const rows = await as(caller, 'storage.object.sign_many', (tx) => tx`
        select name from storage.objects
        where bucket_id = ${bucket} and name = any(${body.paths}) and archived_at is null and not is_delete_marker`)
      const found = new Set(rows.map((row) => row.name))
      const error = 'Either the object does not exist or you do not have access to it'
      return Response.json(
        await Promise.all(
          body.paths.map(async (path) =>
            found.has(path)
              ? { error: null, path, signedURL: await signedUrl(bucket, path, expiresIn) }
              : { error, path, signedURL: null },
          ),
        ),
      )
    }],

    ['POST|PUT', /^\/object\/(?!sign\/|upload\/)([^/]+)\/(.+)$/, async ({ request, caller, bucket, name, abandonConnection }) => {
      const update = request.method === 'PUT'
      const operation = update ? 'storage.object.upload_update' : 'storage.object.upload'
      const upsert = update || request.headers.get('x-upsert') === 'true'
      return Response.json(await upload(request, caller, operation, bucket, name, { upsert, abandonConnection }))
    }],

    ['POST', /^\/upload\/resumable$/, createResumable],
    ['HEAD|PATCH', /^\/upload\/resumable\/(?!sign$)([^/]+)$/, continueResumable],

    ['DELETE', /^\/object\/([^/]+)$/, async ({ json, caller, bucket }) => {
      const { prefixes } = await json()
      if (!Array.isArray(prefixes) || prefixes.length === 0)
        throw errors.invalidRequest('body/prefixes must NOT have fewer than 1 items')
      if (await isMarked('storage.object.delete_many', bucket, prefixes)) return Response.json(prefixes.map((name) => ({ name })))
      const rows = await as(caller, 'storage.object.delete_many', (tx) => tx`
        delete from storage.objects where bucket_id = ${bucket} and name = any(${prefixes}) returning *`)
      await Promise.all(rows.map((row) => discard(row.version)))
      return Response.json(rows)
    }],

    ['DELETE', /^\/object\/([^/]+)\/(.+)$/, async ({ caller, bucket, name }) => {
      if (await isMarked('storage.object.delete', bucket, [name])) return Response.json({ message: 'Successfully deleted' })
      await findObject(null, null, bucket, name)
      const [row] = await as(caller, 'storage.object.delete', (tx) => tx`
        delete from storage.objects where bucket_id = ${bucket} and name = ${name} returning *`)
      if (!row) throw errors.accessDenied('Access denied')
      await discard(row.version)
      return Response.json({ message: 'Successfully deleted' })
    }],

    ['GET', /^\/object\/info\/(?:authenticated\/)?(?!public\/)([^/]+)\/(.+)$/, async ({ caller, bucket, name }) =>
      info(await findObject(caller, 'storage.object.get_authenticated_info', bucket, name))],

    ['GET|HEAD', /^\/object\/(?:authenticated\/)?(?!public\/|sign\/|info\/|authenticated\/)([^/]+)\/(.+)$/,
      async ({ request, caller, bucket, name }) => {
        const { public: open } = await findBucket(bucket)
        const operation = 'storage.object.get_authenticated'
        return download(request, await findObject(open ? null : caller, operation, bucket, name))
      }],

    ['PUT', /^\/bucket\/([^/]+)$/, async ({ request, caller, bucket }) => {
      // Lite does the rest, and does not know this setting.
      const { versioning_status } = await request.clone().json().catch(() => ({}))
      if (versioning_status === undefined) return undefined
      const [changed] = await as(caller, 'storage.bucket.update', (tx) => tx`
        update storage.buckets set versioning_status = ${versioning_status} where id = ${bucket} returning id`)
      if (!changed) throw errors.noSuchBucket()
      return Response.json({ message: 'Successfully updated' })
    }],

    ['DELETE', /^\/bucket\/([^/]+)$/, async ({ caller, bucket }) => {
      await superuser('storage.bucket.delete', async (tx) => {
        const [row] = await tx`select id from storage.buckets where id = ${bucket} for update`
        if (!row) throw errors.noSuchBucket()
        const [object] = await tx`select from storage.objects where bucket_id = ${bucket} limit 1`
        if (object) throw errors.bucketNotEmpty()
        await tx`select set_config('role', ${caller.role}, true)`
        const deleted = await tx`delete from storage.buckets where id = ${bucket} returning id`
        if (deleted.length === 0) throw errors.noSuchBucket()
      })
      return Response.json({ message: 'Successfully deleted' })
    }],

    ['POST', /^\/bucket\/([^/]+)\/empty$/, async ({ caller, bucket }) => {
      if (caller.role !== 'service_role') throw errors.accessDenied('Access denied: Invalid role')
      const operation = 'storage.bucket.empty'
      const visible = await as(caller, operation, (tx) => tx`select from storage.buckets where id = ${bucket}`)
      if (visible.length === 0) throw errors.noSuchBucket()
      const rows = await as(caller, operation, (tx) => tx`
        delete from storage.objects where bucket_id = ${bucket} returning version`)
      await Promise.all(rows.map((row) => discard(row.version)))
      return Response.json({ message: 'Empty bucket has been queued. Completion may take up to an hour.' })
    }],
  ]

  // These need no caller: the bucket is public, or the URL itself is the permission.
  const openRoutes = [
    ['GET|HEAD', /^\/object\/public\/([^/]+)\/(.+)$/, async ({ request, bucket, name }) => {
      if (!(await findBucket(bucket)).public) throw errors.noSuchBucket()
      return download(request, await findObject(null, null, bucket, name))
    }],

    ['GET', /^\/object\/info\/public\/([^/]+)\/(.+)$/, async ({ bucket, name }) => {
      if (!(await findBucket(bucket)).public) throw errors.noSuchBucket()
      return info(await findObject(null, null, bucket, name))
    }],

    ['GET|HEAD', /^\/object\/sign\/([^/]+)\/(.+)$/, async ({ request, bucket, name }) => {
      const { exp } = await verifySignedUrl(request, bucket, name, 'download')
      return download(request, await findObject(null, null, bucket, name), { expires: exp })
    }],

    ['POST', /^\/upload\/resumable\/sign$/, createResumable],
    ['HEAD|PATCH', /^\/upload\/resumable\/sign\/([^/]+)$/, continueResumable],

    ['PUT', /^\/object\/upload\/sign\/([^/]+)\/(.+)$/, async ({ request, bucket, name }) => {
      const { owner, upsert } = await verifySignedUrl(request, bucket, name, 'upload')
      const options = { upsert, asOwner: true }
      const { Key } = await upload(request, { sub: owner }, 'storage.object.upload_signed', bucket, name, options)
      return Response.json({ Key })
    }],
  ]

  const find = (table, method, path) => {
    for (const [methods, pattern, handler] of table) {
      const match = methods.split('|').includes(method) && pattern.exec(path)
      if (match) return { handler, bucket: match[1], name: match[2] }
    }
  }

  /**
   * Answers a request to /storage/v1, or nothing where Lite's own route (buckets) will do.
   * `identify` turns the request's credentials into a caller, or throws a StorageError. `abandonConnection`
   * makes the request's connection one on which no later request is answered.
   */
  return async function handle(request, path, identify, abandonConnection) {
    try {
      const decoded = path.split('/').map(decodeURIComponent).join('/')
      const open = find(openRoutes, request.method, decoded)
      const route = open ?? find(routes, request.method, decoded)
      const caller = open || !path.match(/^\/(object|bucket|upload)\b/) ? undefined : await identify()
      if (!route) return undefined
      const json = async () => {
        const body = await request.json().catch(() => undefined)
        if (body === null || typeof body !== 'object') throw errors.invalidRequest('body must be object')
        return body
      }
      return await route.handler({ ...route, request, caller, json, abandonConnection })
    } catch (error) {
      if (error instanceof StorageError) return error.toResponse()
      if (error instanceof URIError) return errors.invalidKey(path).toResponse()
      if (error.name === 'PostgresError') return fromDatabase(error).toResponse()
      console.error(request.method, path, error)
      return new StorageError(500, 'InternalError', 'Internal Server Error', 'Internal').toResponse()
    }
  }
}
