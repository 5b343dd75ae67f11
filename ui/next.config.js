import { fileURLToPath } from "node:url";
import { PUBLISHED, publishedSecrets } from "./lib/keys.js";

// Before a build and before a start: Next writes variables of these names into what the browser gets.
const secrets = publishedSecrets(process.env);
if (secrets.length > 0) throw new Error(`${secrets.join(", ")}: ${PUBLISHED}`);

// Headers that are the same for every answer. The content security policy contains a nonce, so proxy.ts sets it.
const headers = [
  { key: "X-Content-Type-Options", value: "nosniff" },
  { key: "X-Frame-Options", value: "DENY" },
  { key: "Referrer-Policy", value: "strict-origin-when-cross-origin" },
  { key: "Cross-Origin-Opener-Policy", value: "same-origin" },
  { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=(), payment=(), usb=()" },
  { key: "Strict-Transport-Security", value: "max-age=63072000" },
];

/** @type {import("next").NextConfig} */
const config = {
  poweredByHeader: false,
  reactStrictMode: true,
  headers: () => Promise.resolve([{ source: "/:path*", headers }]),
  turbopack: {
    // The workspace's root, which has node_modules.
    root: fileURLToPath(new URL("..", import.meta.url)),
    // For docs/example-plan.md.
    rules: { "*.md": { type: "text" } },
  },
  experimental: {
    // A document is at most 1 MiB of UTF-8, and JSON writes a control character of one byte in six.
    serverActions: { bodySizeLimit: "7mb" },
  },
};

export default config;
