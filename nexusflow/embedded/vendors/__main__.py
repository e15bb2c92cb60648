"""The command line of the local vendors."""

import argparse
import asyncio
import sys
from pathlib import Path

from nexusflow.embedded.vendors.server import Options, serve


def main() -> int:
    """Run the vendors until told to stop; 1 where a port or the directory cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m nexusflow.embedded.vendors", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where objects, mails and contacts are kept")
    parser.add_argument("--port-file", type=Path, required=True, help="gets the chosen ports as JSON when ready")
    parser.add_argument("--log", type=Path, help="the JSON lines of calls; default: DIRECTORY/calls.jsonl")
    parser.add_argument("--port", type=int, default=0, help="the HTTP port; default: a free one")
    parser.add_argument("--smtp-port", type=int, default=0, help="the SMTP port; default: a free one")
    given = parser.parse_args()
    log = given.log or given.directory / "calls.jsonl"
    try:
        asyncio.run(serve(Options(given.directory, given.port_file, log, given.port, given.smtp_port)))
    except OSError as error:
        print(f"The local vendors cannot start: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
