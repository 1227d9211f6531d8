"""Asking the fence: what is logged when it fails."""

from collections.abc import Collection

import pytest

from postroom.errors import StoreUnavailable
from postroom.transport.fence import ask


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full"), ZeroDivisionError("of the test")])
def test_foreseen_trouble_is_one_line_and_a_bug_has_its_traceback(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fence(_: Collection[str]) -> Collection[str]:
        raise error

    assert ask(fence, ["an id"]) == ()
    (line,) = caplog.records
    assert line.getMessage() == "fence failed"
    foreseen = isinstance(error, StoreUnavailable)
    assert vars(line)["reason"] == ("the disk is full" if foreseen else "ZeroDivisionError")
    assert bool(line.exc_info) is not foreseen
