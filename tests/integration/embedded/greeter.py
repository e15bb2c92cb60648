"""A program for tests: answers one connection to its standard input with what its environment says."""

import os
import socket
import sys
import time


def greet() -> int:
    """Serve one connection."""
    with socket.socket(fileno=0) as listener:
        connection, _ = listener.accept()
    with connection:
        connection.sendall(os.environ["GREETING"].encode())
    time.sleep(0.05)
    return 7


if __name__ == "__main__":
    sys.exit(greet())
