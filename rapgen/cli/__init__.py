"""The command line: one thin file a command group, nothing heavy imported before a command runs."""

from __future__ import annotations


def main() -> None:
    """Run `rapgen`; it exits with 0, with 2 after a user's error, 1 after a bug, 130 when stopped."""
    import gc

    from rapgen.cli.app import make_app

    try:
        make_app()(prog_name="rapgen")
    finally:
        gc.freeze()  # or Python looks through all of torch's objects once more before it ends, for half a second
