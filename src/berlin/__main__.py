"""The command `berlin`, also as `python -m berlin`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from berlin.cli.main import run

    sys.exit(run())


if __name__ == "__main__":
    main()
