import "server-only";
import { createEnv } from "@t3-oss/env-core";
import { maxHeaderSize } from "node:http";
import { z } from "zod";
import { hasPassword, isPublishable, PUBLISHED } from "./keys";

/**
 * The app's settings, validated when the server starts (see instrumentation.ts).
 *
 * They are read at run time, not at build time, so that one build works with any stack. That is why process.env is
 * passed as a whole: Next inlines `process.env.NEXT_PUBLIC_…` wherever it is written out. The browser gets the public
 * ones from the page (see public-env.ts).
 */
export const env = createEnv({
  server: {
    /** Where the approval service listens. */
    SERVICE_URL: z.url().optional(),
  },
  clientPrefix: "NEXT_PUBLIC_",
  client: {
    NEXT_PUBLIC_SUPABASE_URL: z.url().refine((url) => !hasPassword(url), PUBLISHED),
    // A publishable key, or the anon key of an older project. A secret key must never come this way.
    NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY: z.string().min(1).refine(isPublishable, PUBLISHED),
    /** How a plan is approved: by the service, or by supabase-js from the browser. */
    NEXT_PUBLIC_APPROVE_VIA: z.enum(["service", "direct"]).default("service"),
  },
  runtimeEnv: process.env,
  isServer: true,
  emptyStringAsUndefined: true,
  skipValidation: process.env.NEXT_PHASE === "phase-production-build",
  createFinalSchema: (shape) =>
    z
      .object(shape)
      .refine((env) => env.NEXT_PUBLIC_APPROVE_VIA === "direct" || env.SERVICE_URL !== undefined, {
        path: ["SERVICE_URL"],
        message: "needed unless NEXT_PUBLIC_APPROVE_VIA is direct",
      }),
});

/** How many bytes of a request's headers the session's cookies may take: the rest is for everything else. */
export const cookieRoom = (maxHeaderSize / 4) * 3;

/** The settings that the browser gets. */
export function publicSettings() {
  return {
    supabaseUrl: env.NEXT_PUBLIC_SUPABASE_URL,
    supabaseKey: env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY,
    approveVia: env.NEXT_PUBLIC_APPROVE_VIA,
    cookieRoom,
    /** The server's time, in milliseconds: see clock.ts. */
    now: Date.now(),
  };
}

export type PublicEnv = ReturnType<typeof publicSettings>;
