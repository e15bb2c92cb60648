"""The command line: ``nexusflow run|runs|init|validate|compile|actions|doctor``."""

import sys


def main() -> None:
    """The ``nexusflow`` program."""
    from nexusflow.cli.app import call  # noqa: PLC0415 - importing the package alone costs nothing

    sys.exit(call(sys.argv[1:]))
