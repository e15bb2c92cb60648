"""The vendors' local doubles: one process that speaks OpenAI's, HubSpot's, S3's and SMTP's own protocols.

``python -m nexusflow.embedded.vendors --directory DIR --port-file FILE`` runs it. It listens on 127.0.0.1 only.
``connections_for`` gives the connections that lead there.
"""

from nexusflow.embedded.vendors.connections import connections_for

__all__ = ["connections_for"]
