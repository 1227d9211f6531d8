"""A private Postfix as relay on a free loopback port, which hands everything it has taken to one next hop."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port, installed, require

MASTER = Path("/usr/lib/postfix/sbin/master")
START_SECONDS = 20.0
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""
_SETTINGS = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.example
mydestination =
local_recipient_maps =
alias_maps =
fast_flush_domains =
relayhost = [127.0.0.1]:{next_port}
smtp_dns_support_level = disabled
smtp_tls_security_level = none
smtpd_peername_lookup = no
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ nobody@example.net=REJECT }}, permit_mynetworks, reject
smtpd_end_of_data_restrictions = check_recipient_access inline:{{ fussy@example.net=REJECT }}
"""
_STRICT = """\
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname
"""
_TLS = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key_and_chain}
"""
# Ends the server when the pipe from us closes, also because we were killed. (A parent-death signal is no help: the
# kernel forgets it when the server changes its user.)
_KEEPER = '"$@" & server=$!; read -r _; kill "$server"; wait "$server"'


class Postfix:
    """One instance with its own configuration and queue. It takes mail at `port`, all of which goes to `next_port` on
    this machine; `nobody@example.net` is refused at RCPT, an email to `fussy@example.net` at the final dot, and where
    it is `strict` each recipient of a client that does not say its full name. It ends with the process that started
    it."""

    def __init__(self, folder: Path, next_port: int, *, key_and_chain: Path | None = None, strict: bool = True) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("configuration", "queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        settings = _SETTINGS.format(folder=folder, next_port=next_port)
        if strict:
            settings += _STRICT
        if key_and_chain:
            settings += _TLS.format(key_and_chain=key_and_chain)
        (folder / "configuration" / "main.cf").write_text(settings)
        (folder / "configuration" / "master.cf").write_text(_SERVICES.format(port=self.port))

    def start(self) -> None:
        """Starts it and returns when it greets."""
        configuration = str(self._folder / "configuration")
        subprocess.run(["postfix", "-c", configuration, "check"], check=True, capture_output=True, timeout=60)
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", MASTER, "-c", configuration, "-d"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._greets():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"Postfix does not start:\n{self.log()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it with all its processes, which share its socket: one that still lives would answer for the next."""
        if self._process is not None:
            self._process.communicate(timeout=20)
            self._process = None
            deadline = time.monotonic() + START_SECONDS
            while self._greets() and time.monotonic() < deadline:
                time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process id at the root of all its processes."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What it has logged so far."""
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                return sock.recv(3) == b"220"
        except OSError:
            return False


@contextmanager
def postfix(next_port: int, *, key_and_chain: Path | None = None, strict: bool = True) -> Iterator[Postfix]:
    """A running Postfix that hands everything to that port. Skips (under CI fails) where it cannot be had."""
    require(installed("postfix", package="postfix", also="/usr/sbin/postfix"), "Postfix is not installed")
    require(MASTER.exists(), "this Postfix is laid out in another way than Debian's")
    require(os.geteuid() == 0, "Postfix can be started by root only")
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))  # not below pytest's folder, which other users may not enter
    folder.chmod(0o755)
    server = Postfix(folder, next_port, key_and_chain=key_and_chain, strict=strict)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
