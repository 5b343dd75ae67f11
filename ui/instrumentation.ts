/** Stops a server with missing or wrong settings at its start, after a message that names them. */
export async function register() {
  if (process.env.NEXT_RUNTIME === "nodejs") {
    try {
      await import("./lib/env");
    } catch (error) {
      console.error(error instanceof Error ? error.message : error);
      process.exit(1);
    }
  }
}
