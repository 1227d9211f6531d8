"""The way of a submission from the event loop to the intake's thread, and of its answer back."""

import asyncio
from collections import deque
from functools import partial

from postroom.api.patience import Patience
from postroom.errors import OutcomeUnknown
from postroom.intake import Intake, Result
from postroom.store.base import Added, KeyReused, Submission

_Waiting = asyncio.Future[Added | KeyReused]


class Commits:
    """Hands submissions over for the requests on one event loop, which is woken up once for a group, not for each."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._patience = Patience(lambda: OutcomeUnknown("the store is slow"))
        self._answered: deque[tuple[_Waiting, Result]] = deque()
        self._woken = False

    def submit(self, submission: Submission, *, seconds: float) -> _Waiting:
        """Done when the submission is durable; with a `StoreError` if it is not, `OutcomeUnknown` after `seconds`."""
        loop = asyncio.get_running_loop()
        future: _Waiting = loop.create_future()
        self._patience.watch(future, seconds)
        self._intake.submit(submission, partial(self._take, loop, future))
        return future

    def _take(self, loop: asyncio.AbstractEventLoop, future: _Waiting, answer: Result) -> None:
        """Takes an answer, in the intake's thread."""
        self._answered.append((future, answer))
        if not self._woken:
            self._woken = True
            try:
                loop.call_soon_threadsafe(self._hand_out)
            except RuntimeError:  # the loop has ended, and with it all who waited
                self._answered.clear()

    def _hand_out(self) -> None:
        self._woken = False  # before looking: what comes from now on wakes the loop again
        while self._answered:
            future, answer = self._answered.popleft()
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
