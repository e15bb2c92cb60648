"""A private RabbitMQ node with an Erlang port mapper of its own."""

import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence

import amqp  # type: ignore[import-untyped]

from tests.servers.programs import find_epmd, find_rabbitmq
from tests.servers.server import HOST, Server, ServerDidNotStart, accepts, free_port

_CONFIGURATION = """\
disk_free_limit.absolute = 5MB
log.console = true
log.console.level = warning
log.file = false
"""


class PortMapper(Server):
    """epmd, which Erlang nodes need to start: a private one ends with the tests."""

    name = "epmd"
    start_seconds = 20.0

    def __init__(self) -> None:
        super().__init__()
        found = find_epmd()
        if found is None:
            raise ServerDidNotStart("Erlang is not on this machine: make test installs it or says how.")
        self.program = found

    @property
    def url(self) -> str:
        return f"epmd://{HOST}:{self.port}"

    def command(self) -> Sequence[str]:
        return [str(self.program), "-port", str(self.port), "-address", HOST]

    def answers(self) -> bool:
        return accepts(self.port)


class RabbitMQServer(Server):
    """RabbitMQ as whatever account runs the tests, without plugins."""

    name = "rabbitmq"
    start_seconds = 90.0

    def __init__(self) -> None:
        super().__init__()
        found = find_rabbitmq()
        if found is None:
            raise ServerDidNotStart("RabbitMQ is not on this machine: make test installs it or says how.")
        self.program = found
        self.dist_port = free_port()
        self.mapper = PortMapper()
        self.node = f"nexusflow-{os.getpid()}-{self.port}@localhost"
        for name, content in (("rabbitmq.conf", _CONFIGURATION), ("plugins", "[].\n"), ("env.conf", "")):
            (self.folder / name).write_text(content)
        (self.folder / "home").mkdir(mode=0o700)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    def launch(self) -> None:
        self.mapper.start()
        super().launch()

    def command(self) -> Sequence[str]:
        return [str(self.program)]

    def environment(self) -> Mapping[str, str]:
        return {
            **super().environment(),
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.folder / "home"),  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(self.mapper.port),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_CRASH_DUMP": "/dev/null",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "no-advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def answers(self) -> bool:
        if not accepts(self.port):
            return False
        try:
            with amqp.Connection(f"{HOST}:{self.port}", connect_timeout=2, read_timeout=5) as connection:
                connection.channel().close()
        except (OSError, amqp.AMQPError):
            return False
        return True

    def kill(self) -> None:
        super().kill()
        self.mapper.kill()

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node; what it printed."""
        done = subprocess.run(
            [str(self.program.parent / "rabbitmqctl"), "-n", self.node, "-q", *arguments],
            env=dict(self.environment()),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def fresh_url(self) -> str:
        """The address of a virtual host of its own: clusters on one broker must not take each other's messages."""
        name = f"vhost-{uuid.uuid4().hex[:12]}"
        self.control(
            "eval",
            f'rabbit_vhost:add(<<"{name}">>, <<"tests">>), rabbit_auth_backend_internal:set_permissions('
            f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).',
        )
        return f"amqp://guest:guest@{HOST}:{self.port}/{name}"

    def drop_connections(self) -> None:
        """Close every client's connection from the server's side."""
        self.control("close_all_connections", "a test drops the connections")
