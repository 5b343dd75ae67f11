"""`python -m greenlight`, and the command `greenlight`."""

import sys


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        # Without the command line's library: the service's process stays small and starts sooner.
        from greenlight.serve import main as serve  # noqa: PLC0415

        serve()
    else:
        from greenlight.cli import app  # noqa: PLC0415

        app(prog_name="greenlight")


if __name__ == "__main__":
    main()
