/** Stops a server with missing or wrong settings at its start, with a message that names them. */
export async function register() {
  if (process.env.NEXT_RUNTIME === "nodejs") await import("./lib/env");
}
