"""The connections of an embedded cluster whose vendors are local."""

from collections.abc import Mapping

BUCKET = "reports"
"""The bucket that is there from the start."""


def connections_for(ports: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Connection settings by connection name; ``ports`` has ``http`` and ``smtp`` (the port file's content)."""
    root = f"http://127.0.0.1:{ports['http']}"
    return {
        "openai": {"api_key": "local", "base_url": f"{root}/openai/v1"},
        "hubspot": {"access_token": "local", "host": f"{root}/hubspot"},
        "s3": {
            "access_key_id": "local",
            "secret_access_key": "local",
            "endpoint_url": f"{root}/s3",
            "region": "us-east-1",
        },
        "email": {
            "host": "127.0.0.1",
            "port": str(ports["smtp"]),
            "tls": "none",
            "from": "NexusFlow <nexusflow@example.com>",
        },
    }
