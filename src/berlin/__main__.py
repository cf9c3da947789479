"""The command `berlin`, also as `python -m berlin`."""

from __future__ import annotations

import gc
import os
import signal
import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code."""
    # Before the first `try` of a command, Ctrl-C would end an import with a traceback.
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default:  # not if it is ignored, as for a job in the background
        signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    # Little of what a command makes is garbage, and it ends soon; `serve` sets its own.
    gc.set_threshold(20_000, 20, 20)
    from berlin.cli.main import run

    if is_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(run())
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
