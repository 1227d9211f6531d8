"""A private RabbitMQ of one node, and the faults that can be done to it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from amqp.exceptions import NotFound
from kombu import Connection, Queue

from postroom.mail.email import Lane
from tests.servers import free_port, installed, require

PROGRAMS = Path("/usr/lib/rabbitmq/bin")  # the wrappers in /usr/sbin would switch the user
START_SECONDS = 60.0


class RabbitMQ:
    """One node with its management API, its data in `folder`. User `guest`, password `guest`. Nodes of a cluster share
    the `home` that holds their cookie, and the epmd of one of them."""

    def __init__(self, folder: Path, *, home: Path | None = None, epmd_port: int | None = None) -> None:
        self.folder, self._home = folder, home or folder
        self.port, self.api_port, self.epmd_port = free_port(), free_port(), epmd_port or free_port()
        self.name = f"postroom{self.port}@localhost"
        self._epmd_is_anothers = epmd_port is not None
        self._environment = self._make_environment(free_port())
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        self.vhost = "/"

    def _make_environment(self, distribution_port: int) -> dict[str, str]:
        plugins = self.folder / "plugins"
        plugins.write_text("[rabbitmq_management].")
        (self.folder / "rabbitmq.conf").write_text(
            "loopback_users.guest = true\nheartbeat = 10\nvm_memory_high_watermark.relative = 0.4\n"
            "disk_free_limit.absolute = 50MB\nlog.console = false\n"
            f"management.tcp.port = {self.api_port}\nmanagement.tcp.ip = 127.0.0.1\n"
        )
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RUNNING_UNDER_SYSTEMD": "true",  # no shell stays between us and the node: our pid is its pid
            "HOME": str(self._home),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{quote(self.vhost, safe='')}"

    @property
    def api_url(self) -> str:
        """The management API, with its password."""
        return f"http://guest:guest@127.0.0.1:{self.api_port}/api"

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it and returns when clients are served."""
        self.start_epmd()
        with (self.folder / "output.txt").open("ab") as output:
            self._node = subprocess.Popen(
                [PROGRAMS / "rabbitmq-server"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wait_until_served()

    def start_epmd(self) -> None:
        """Starts the helper that knows the nodes' ports, unless it runs or is another node's."""
        if self._epmd is None and not self._epmd_is_anothers:
            epmd = ["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"]
            self._epmd = subprocess.Popen(epmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _wait_for_port(self.epmd_port, self._epmd)

    def _wait_until_served(self) -> None:
        assert self._node is not None
        _wait_for_port(self.port, self._node)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.api_url}/health/checks/virtual-hosts", timeout=2).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"RabbitMQ is not ready after {START_SECONDS} s; see {self.folder}")

    def kill(self) -> None:
        """kill -9."""
        if self._node is not None:
            self._node.kill()
            self._node.wait(10)
            self._node = None

    def stop(self) -> None:
        """Ends it for good."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(10)
            self._epmd = None

    @property
    def pid(self) -> int:
        """The node's process id."""
        assert self._node is not None
        return self._node.pid

    @property
    def running(self) -> bool:
        """Whether the node's process is there."""
        return self._node is not None and self._node.poll() is None

    # -- faults -----------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """kill -9, and up again."""
        self.kill()
        self.start()

    def wipe(self) -> None:
        """kill -9, its data folder emptied, and up again with nothing that it knew."""
        self.kill()
        shutil.rmtree(self.folder / "data")
        self.start()
        self.vhost = "/"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile it is stopped (SIGSTOP): connections stay open, nothing answers."""
        assert self._node is not None
        self._node.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._node.send_signal(signal.SIGCONT)

    @contextmanager
    def under_memory_alarm(self) -> Iterator[None]:
        """Meanwhile publishers are blocked because memory is short, as it believes."""
        self.control("set_vm_memory_high_watermark", "0")
        try:
            yield
        finally:
            self.control("set_vm_memory_high_watermark", "0.4")

    def close_all_connections(self) -> None:
        """Closes every client's connection."""
        self.control("close_all_connections", "by a test")

    def purge(self, queue: str) -> None:
        """Empties a queue of the present virtual host."""
        self.call("DELETE", f"queues/{self._vhost}/{queue}/contents")

    def delete_queue(self, queue: str) -> None:
        """Deletes a queue of the present virtual host."""
        self.call("DELETE", f"queues/{self._vhost}/{queue}")

    def control(self, *arguments: str) -> str:
        """Runs the node's control tool."""
        command = [PROGRAMS / "rabbitmqctl", "-n", self._environment["RABBITMQ_NODENAME"], *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    # -- looking ----------------------------------------------------------------------------------------------------

    def new_vhost(self, name: str) -> str:
        """Makes a virtual host with nothing in it, moves there, and returns its URL."""
        self.vhost = name
        self._make_vhost(name)
        return self.url

    @contextmanager
    def own_vhost(self) -> Iterator[str]:
        """The URL of a virtual host that nobody else uses, and that is gone afterwards; the present one stays."""
        name = f"own-{uuid.uuid4().hex[:8]}"
        self._make_vhost(name)
        try:
            yield f"amqp://guest:guest@127.0.0.1:{self.port}/{name}"
        finally:
            self.call("DELETE", f"vhosts/{name}")

    def _make_vhost(self, name: str) -> None:
        quoted = quote(name, safe="")
        self.call("PUT", f"vhosts/{quoted}")
        self.call("PUT", f"permissions/{quoted}/guest", {"configure": ".*", "write": ".*", "read": ".*"})

    def drop_vhost(self) -> None:
        """Deletes the present virtual host, and everything and everybody in it."""
        if self.vhost != "/":
            self.call("DELETE", f"vhosts/{self._vhost}")
        self.vhost = "/"

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One call of the management API. A queue that is not there, or does not run (`noproc`), is no error."""
        answer = httpx.request(method, f"{self.api_url}/{path}", json=body, timeout=10)
        absent = answer.status_code == 404 or "noproc" in answer.text
        assert answer.is_success or absent, f"{method} {path}: {answer.text}"
        return answer

    @property
    def _vhost(self) -> str:
        return quote(self.vhost, safe="")


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing listens on {port} (exit code {process.poll()})")


def require_installed() -> None:
    """Skips the test, or under CI fails it, where RabbitMQ is not and cannot be installed."""
    program = installed("rabbitmq-server", package="rabbitmq-server", also=str(PROGRAMS / "rabbitmq-server"))
    require(program and PROGRAMS.exists() and shutil.which("epmd"), "RabbitMQ is not installed (rabbitmq-server)")


def start(folder: Path) -> RabbitMQ:
    """A running private node."""
    require_installed()
    server = RabbitMQ(folder)
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    return server


@pytest.fixture(scope="session")
def rabbitmq_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """One node for the whole session, because it takes ten seconds to start."""
    server = start(tmp_path_factory.mktemp("rabbitmq"))
    yield server
    server.stop()


@pytest.fixture
def rabbitmq(rabbitmq_node: RabbitMQ) -> Iterator[RabbitMQ]:
    """That node with an empty virtual host for this test; running again after it, whatever the test did to it."""
    rabbitmq_node.new_vhost(f"test-{uuid.uuid4().hex[:8]}")
    yield rabbitmq_node
    if not rabbitmq_node.running:
        rabbitmq_node.start()
    rabbitmq_node.drop_vhost()


@pytest.fixture
def amqp_url(request: pytest.FixtureRequest) -> str:
    """A broker that nothing bad happens to, its queues empty: the user's, if POSTROOM_TEST_AMQP_URL names one, else a
    private one."""
    url = os.environ.get("POSTROOM_TEST_AMQP_URL") or str(request.getfixturevalue("rabbitmq").url)
    while taken_from(url):
        pass
    return url


def taken_from(url: str) -> tuple[Lane, list[str]] | None:
    """Takes the next wake-up as a worker of another make would, urgent lane first; None when none waits."""
    with Connection(url) as connection:
        for lane in Lane:
            with contextlib.suppress(NotFound):
                if message := Queue(f"postroom.{lane}")(connection.channel()).get(no_ack=True):
                    (wake_up,), _, _ = json.loads(message.body)
                    return Lane(wake_up["lane"]), wake_up["ids"]
    return None
