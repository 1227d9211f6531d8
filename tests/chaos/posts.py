"""Processes that are started again when they die, as by an operator's process manager."""

import contextlib
import threading
import time

from tests.fleet import Fleet, Member

WATCH_SECONDS = 0.1
RESTART_SECONDS = 0.5  # between a death and the next start


class Post:
    """One place in the fleet: a command, and the process that runs it now."""

    def __init__(self, fleet: Fleet, *command: str) -> None:
        self._fleet = fleet
        self._command = command
        self._died_at: float | None = None
        self.vacant = False  # meanwhile nobody takes this place
        self.restarts = 0
        self.member: Member = fleet.start(*command)

    def watch(self) -> None:
        """Starts it again some time after it has died."""
        if self.vacant or self.member.process.poll() is None:
            return
        self._died_at = self._died_at or time.monotonic()
        if time.monotonic() - self._died_at >= RESTART_SECONDS:
            self._died_at = None
            self.restarts += 1
            self.member = self._fleet.start(*self._command)

    def children(self) -> list[int]:
        """Its child processes, oldest first; none while it is dead."""
        with contextlib.suppress(FileNotFoundError):
            return self.member.children()
        return []


class Posts:
    """All places by kind (`serve`, `worker`, `sweep`), watched by a thread of its own."""

    def __init__(self) -> None:
        self._posts: dict[str, list[Post]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def add(self, kind: str, post: Post) -> None:
        """One more place."""
        self._posts.setdefault(kind, []).append(post)

    def of(self, kind: str) -> list[Post]:
        """The places of this kind."""
        return self._posts.get(kind, [])

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def stop(self) -> dict[str, int]:
        """Watches no more, then ends every process by SIGTERM; returns exit codes other than 0, by log."""
        self._over.set()
        self._thread.join()
        members = [post.member for posts in self._posts.values() for post in posts]
        for member in members:
            member.process.terminate()
        codes = {member.log_file.name: member.process.wait(60) for member in members}
        return {name: code for name, code in codes.items() if code}

    def _watch(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            for posts in self._posts.values():
                for post in posts:
                    post.watch()
