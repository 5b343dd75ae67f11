// Access tokens as a hosted project's are: ES256 with a key id and an issuer, verified through a JWKS. Lite knows
// only HS256, so tokens are signed again on their way out and turned back on their way in. Tokens that the caller
// signed with the project's shared secret are valid, too, as on hosted projects until that secret is revoked.
import { createHash, randomBytes } from 'node:crypto'
import * as jose from 'jose'

const encoder = new TextEncoder()

// PostgREST's: clocks differ.
const LEEWAY_SECONDS = 30

export async function createTokens({ url, jwtSecret, signingKey }) {
  const issuer = `${url}/auth/v1`
  const secret = encoder.encode(jwtSecret)
  const privateKey = await jose.importJWK(signingKey, 'ES256')
  const { d: _, ...publicJwk } = signingKey
  const publicKey = await jose.importJWK(publicJwk, 'ES256')

  // Signed URLs have their own key on hosted projects, so one kind of token cannot be used as the other.
  const urlKey = createHash('sha256').update(`storage url signing key ${jwtSecret}`).digest()

  const keyOf = (header) => {
    if (header.alg === 'ES256' && header.kid === signingKey.kid) return publicKey
    if (header.alg === 'HS256') return secret
    throw new jose.errors.JWSSignatureVerificationFailed()
  }

  return {
    jwks: { keys: [{ ...publicJwk, alg: 'ES256', use: 'sig', key_ops: ['verify'] }] },

    discovery: {
      issuer,
      jwks_uri: `${issuer}/.well-known/jwks.json`,
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256', 'HS256', 'ES256'],
    },

    /** The claims of a token that this project issued and that is valid now; throws otherwise. */
    async verify(token) {
      const { payload } = await jose.jwtVerify(token, keyOf, { algorithms: ['ES256', 'HS256'] })
      return payload
    },

    /** Lite's token (HS256) as GoTrue would have written it. */
    async outgoing(token, user) {
      const claims = jose.decodeJwt(token)
      return new jose.SignJWT({
        ...claims,
        iss: issuer,
        phone: user?.phone ?? '',
        app_metadata: user?.app_metadata ?? {},
        user_metadata: user?.user_metadata ?? {},
        is_anonymous: user?.is_anonymous ?? false,
        aal: 'aal1',
        amr: [{ method: 'password', timestamp: claims.iat }],
      })
        .setProtectedHeader({ alg: 'ES256', kid: signingKey.kid, typ: 'JWT' })
        .sign(privateKey)
    },

    /** The claims of a token that this project signed, valid now or not; throws if the signature is wrong. */
    async read(token) {
      const { payload } = await jose.compactVerify(token, keyOf, { algorithms: ['ES256', 'HS256'] })
      return JSON.parse(new TextDecoder().decode(payload))
    },

    /** These claims as Lite can read them; with `leeway`, with PostgREST's leeway. */
    async incoming(claims, { leeway = false } = {}) {
      const exp = leeway && typeof claims.exp === 'number' ? { exp: claims.exp + LEEWAY_SECONDS } : {}
      return new jose.SignJWT({ ...claims, ...exp }).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(secret)
    },

    /** A token that Lite refuses for its signature. */
    async forged() {
      return new jose.SignJWT({}).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(randomBytes(32))
    },

    /** A token of Lite's kind for a short internal call as this user. */
    async internal(userId) {
      const now = Math.floor(Date.now() / 1000)
      return this.incoming({ sub: userId, role: 'authenticated', aud: 'authenticated', iat: now, exp: now + 60 })
    },

    async signUrl(claims, expiresIn) {
      const now = Math.floor(Date.now() / 1000)
      return new jose.SignJWT({ ...claims, iat: now, exp: now + expiresIn })
        .setProtectedHeader({ alg: 'HS256' })
        .sign(urlKey)
    },

    /** The claims of a signed URL's token. A user's own token can be read, too, but names no object. */
    async verifyUrl(token) {
      const keyOfUrl = ({ alg, kid }) => (alg === 'ES256' && kid === signingKey.kid ? publicKey : urlKey)
      const { payload } = await jose.jwtVerify(token, keyOfUrl, { algorithms: ['ES256', 'HS256'] })
      return payload
    },
  }
}
