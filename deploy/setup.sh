#!/bin/sh
# Finds a Python this project can use and sets up .venv with it: deploy/setup.sh [run|dev]
set -eu

suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null
}

for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if suits "$candidate"; then
        exec "$candidate" "$(dirname "$0")/setup.py" "${1:-run}"
    fi
done
echo "NexusFlow needs Python 3.11, 3.12, 3.13 or 3.14; found $(python3 --version 2>/dev/null || echo none)." \
    "Install one, or name it: make PYTHON=/path/to/python3.11" >&2
exit 1
