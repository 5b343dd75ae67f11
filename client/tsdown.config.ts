import { defineConfig } from "tsdown";

export default defineConfig({
  entry: "src/index.ts",
  platform: "neutral",
  // Deno finds the types by this comment if it imports the file directly.
  banner: { js: '// @ts-self-types="./index.d.ts"' },
  dts: true,
});
