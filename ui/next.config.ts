import type { NextConfig } from "next";
import { fileURLToPath } from "node:url";

// What is the same for every answer. The content security policy carries a nonce and is made in proxy.ts.
const headers = [
  { key: "X-Content-Type-Options", value: "nosniff" },
  { key: "X-Frame-Options", value: "DENY" },
  { key: "Referrer-Policy", value: "strict-origin-when-cross-origin" },
  { key: "Cross-Origin-Opener-Policy", value: "same-origin" },
  { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=(), payment=(), usb=()" },
  { key: "Strict-Transport-Security", value: "max-age=63072000" },
];

const config: NextConfig = {
  poweredByHeader: false,
  reactStrictMode: true,
  headers: () => Promise.resolve([{ source: "/:path*", headers }]),
  // The workspace's root, where node_modules lies.
  turbopack: { root: fileURLToPath(new URL("..", import.meta.url)) },
  experimental: {
    // A document is at most 1 MiB of UTF-8, and JSON writes a control character of one byte in six.
    serverActions: { bodySizeLimit: "7mb" },
  },
};

export default config;
