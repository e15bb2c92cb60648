"""Free ports on the loopback interface."""

import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on now. Someone else may still take it first: be ready to try another."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
