"""``python -m nexusflow.cli``."""

from nexusflow.cli import main

main()
