// Access tokens as a hosted project's are: ES256 with a key id and an issuer, verified through a JWKS. Lite knows
// HS256 alone, so tokens are signed anew on their way out and turned back on their way in. Tokens that the caller
// signed with the project's shared secret are good too, as they are on hosted projects until that secret is revoked.
import { createHash } from 'node:crypto'
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

  // Signed URLs have a key of their own on hosted projects: neither kind of token passes for the other.
  const urlKey = createHash('sha256').update(`storage url signing key ${jwtSecret}`).digest()

  const keyOf = (header) => {
    if (header.alg === 'ES256' && header.kid === signingKey.kid) return publicKey
    if (header.alg === 'HS256') return secret
    throw new jose.errors.JWSSignatureVerificationFailed()
  }

  return {
    jwks: { keys: [{ ...publicJwk, alg: 'ES256', use: 'sig', key_ops: ['verify'] }] },

    /** The claims of a token that this project gave out and that is valid now; throws otherwise. */
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

    /** An ES256 token of ours as Lite can read it; anything else unchanged, for Lite to judge. */
    async incoming(token, { leeway = false } = {}) {
      let payload
      try {
        const signed = await jose.compactVerify(token, keyOf, { algorithms: ['ES256', 'HS256'] })
        payload = JSON.parse(new TextDecoder().decode(signed.payload))
      } catch {
        return token
      }
      if (leeway && typeof payload.exp === 'number') payload.exp += LEEWAY_SECONDS
      return new jose.SignJWT(payload).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(secret)
    },

    /** A token of Lite's kind for a short internal errand as this user. */
    async internal(userId) {
      return new jose.SignJWT({ sub: userId, role: 'authenticated', aud: 'authenticated' })
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .setIssuedAt()
        .setExpirationTime('1 minute')
        .sign(secret)
    },

    async signUrl(claims, expiresIn) {
      const now = Math.floor(Date.now() / 1000)
      return new jose.SignJWT({ ...claims, iat: now, exp: now + expiresIn })
        .setProtectedHeader({ alg: 'HS256' })
        .sign(urlKey)
    },

    async verifyUrl(token) {
      const { payload } = await jose.jwtVerify(token, urlKey, { algorithms: ['HS256'] })
      return payload
    },
  }
}
