"""``python -m dcmirror``; kept light, since spawned children import it again."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from dcmirror.cli import main as cli_main  # children need no click

    cli_main()


if __name__ == "__main__":
    main()
