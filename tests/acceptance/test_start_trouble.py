"""A start that fails once the parts are there: the reason is one sentence, and everything is let go of."""

import socket
from contextlib import suppress
from pathlib import Path

from tests.acceptance.command import postroom
from tests.acceptance.service import Service
from tests.servers.disk import disk_of

DISK_BYTES = 40 * 1024 * 1024  # the store keeps 32 MB free when it accepts


def fill(disk: Path) -> None:
    """Leaves no room at all."""
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


def test_taken_port_for_metrics_is_one_sentence_and_a_wrong_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = postroom("run", folder=tmp_path, POSTROOM_METRICS_ADDRESS=address)
    assert code == 2
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"postroom: POSTROOM_METRICS_ADDRESS: cannot listen on {address}")


def test_full_disk_at_the_start_is_one_sentence(tmp_path: Path) -> None:
    with disk_of(DISK_BYTES, tmp_path / "disk") as folder:
        service = Service(folder, simulated_min_seconds="60", simulated_max_seconds="60")
        service.start()
        try:
            for _ in range(20):
                service.wait_for(service.submit(), "sending")
        finally:
            service.kill()
        fill(folder)
        code, _, err = postroom("run", folder=folder)
    assert code == 1
    assert "Traceback" not in err
    assert "free some space" in err.splitlines()[-1]
