"""``python -m dcmirror``; kept light, since spawned children import it again."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line."""
    _open_standard_streams()
    _stand_where_we_may()
    by_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if by_python:  # and not nohup's: an import that is interrupted is no traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dcmirror.cli import main as cli_main  # children need no click

    if by_python:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli_main()


def _open_standard_streams() -> None:
    """Give those that are closed a file that keeps nothing.

    Else the next file that is opened gets their number, and a lock becomes standard
    error; and Python has None where commands read and write.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one: those before it are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            stream = open(number, mode, closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _stand_where_we_may() -> None:
    """Children begin where we are, and ``sudo -u`` may leave us where we may not be."""
    try:
        os.chdir(os.getcwd())
    except OSError:
        os.chdir("/")


if __name__ == "__main__":
    main()
