"""`python -m greenlight` is the command `greenlight`."""

from greenlight.cli import app

app(prog_name="greenlight")
