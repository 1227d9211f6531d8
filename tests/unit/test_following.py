"""Following an email over an API that is busy, restarts or does not show it. Time passes only where it pauses."""

from collections.abc import Iterator

import httpx
import pytest

from postroom.cli.following import LONGEST_PAUSE_SECONDS, UNANSWERED_SECONDS, follow
from postroom.errors import EndUnknown, ServiceUnreachable

Step = httpx.Response | ServiceUnreachable

AWAY = ServiceUnreachable("cannot reach http://127.0.0.1:8022")
SENT = httpx.Response(200, json={"status": "sent"})
SENDING = httpx.Response(200, json={"status": "sending"})


class Script:
    """An API that answers by a script, whose last answer comes again and again; and the pauses between."""

    def __init__(self, *steps: Step) -> None:
        self._steps: Iterator[Step] = iter(steps)
        self._last = steps[-1]
        self.told: list[str] = []
        self.pauses: list[float] = []

    def read(self) -> httpx.Response:
        step = next(self._steps, self._last)
        if isinstance(step, ServiceUnreachable):
            raise step
        return step

    def follow(self) -> dict[str, object]:
        return follow(self.read, tell=self.told.append, clock=lambda: sum(self.pauses), sleep=self.pauses.append)


def test_pauses_grow_to_two_seconds_until_the_email_has_ended() -> None:
    script = Script(*[SENDING] * 12, SENT)
    assert script.follow() == {"status": "sent"}
    assert script.told == ["sending"] * 12 + ["sent"]
    assert script.pauses[0] == 0.25
    assert script.pauses == sorted(script.pauses)
    assert script.pauses[-1] == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize(
    "trouble",
    [httpx.Response(429), httpx.Response(503), httpx.Response(502, text="<html>"), httpx.Response(200, text="?"), AWAY],
)
def test_trouble_that_passes_is_waited_through(trouble: Step) -> None:
    assert Script(SENDING, *[trouble] * 10, SENT).follow() == {"status": "sent"}


def test_pause_is_as_long_as_the_service_asks() -> None:
    script = Script(httpx.Response(429, headers={"retry-after": "7"}), SENT)
    script.follow()
    assert script.pauses == [7]


def test_rate_limit_is_waited_through_however_long() -> None:
    busy = httpx.Response(429, headers={"retry-after": "40"})
    assert Script(*[busy] * 10, SENT).follow() == {"status": "sent"}


@pytest.mark.parametrize("step", [AWAY, httpx.Response(503, headers={"retry-after": "2"})])
def test_end_is_unknown_after_a_minute_without_an_answer(step: Step) -> None:
    script = Script(SENDING, step)
    with pytest.raises(EndUnknown):
        script.follow()
    assert UNANSWERED_SECONDS < sum(script.pauses) < UNANSWERED_SECONDS + 5


@pytest.mark.parametrize("status", [401, 403, 404])
def test_end_is_unknown_at_once_where_the_email_is_not_shown(status: int) -> None:
    script = Script(httpx.Response(status))
    with pytest.raises(EndUnknown, match=str(status)):
        script.follow()
    assert script.pauses == []
