"""A user of a cluster as a process of its own: ``python -m tests.integration.embedded.holder HOME``.

Prints the cluster as one line of JSON, and uses it until its standard input ends.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from nexusflow.embedded.cluster import Home, running
from nexusflow.errors import NexusError


def main() -> int:
    try:
        with running(Home(Path(sys.argv[1])), lambda line: None) as info:
            sys.stdout.write(json.dumps(asdict(info)) + "\n")
            sys.stdout.flush()
            sys.stdin.read()
    except NexusError as error:
        sys.stdout.write(json.dumps({"code": error.code, "message": error.message, "hint": error.hint}) + "\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
