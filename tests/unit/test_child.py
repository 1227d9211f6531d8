"""One child process of a worker: its turns exclude each other."""

import threading

import pytest

from postroom import settings
from postroom.errors import StoreUnavailable
from postroom.worker import child as child_module
from postroom.worker.child import Child


def test_task_does_not_wait_for_ever_behind_a_turn_that_polling_began(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def open_store(*_: object) -> None:
        begun.set()
        go_on.wait(30)
        raise StoreUnavailable("away")

    # No ports: a child opens its own store, after the fork; and what a task waits for is a constant, of 20 seconds.
    monkeypatch.setattr(child_module.wiring, "open_store", open_store)
    monkeypatch.setattr(child_module, "LONGEST_WAIT_SECONDS", 0.1)
    child = Child(settings.load({}), asked_to_stop=lambda: False)
    polling = threading.Thread(target=child.take_turn, args=((),), daemon=True)
    polling.start()
    assert begun.wait(10)
    assert child.take_turn(["an id"], task="a task") == {}
    assert polling.is_alive()
    go_on.set()
    polling.join(10)
    begun.clear()
    child.take_turn(["an id"])
    assert begun.is_set()
