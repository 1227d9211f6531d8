"""A turn whose every connection to the relay is busy."""

import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from postroom.mail.email import Status
from postroom.store.sqlite import SqliteStore
from tests import make
from tests.sending import transports
from tests.smtpd import Hold, Smtpd
from tests.turns import turn


def test_stop_is_heard_while_every_connection_is_busy(tmp_path: Path) -> None:
    stalled = Hold(threading.Event())
    with (
        closing(SqliteStore(tmp_path / "store.sqlite3")) as store,
        Smtpd() as relay,
        transports() as make_transport,
    ):
        relay.script.on("rcpt", stalled)
        at = store.clock()
        emails = make.stored(store, at, make.email(at), make.email(at))
        verdicts = turn(
            store,
            make_transport(relay.url, connections=1),
            *[email.id for email in emails],
            stopping=stalled.reached.is_set,
            stop_limit=timedelta(milliseconds=1),
        )
        stalled.until.set()
        assert verdicts == {"released": 2}
        assert store.counts()[Status.QUEUED] == 2
