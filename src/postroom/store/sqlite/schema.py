"""The layout of the file: its tables, its version, and how connections to it are opened.

Three columns of `emails` say what an email waits for, and the indexes that carry the work hold only those rows:
`due_at` while it waits for an attempt, `lease_until` while a worker holds it, `finished_at` once it has ended.
Times are integers, milliseconds since 1970.
"""

import sqlite3
from pathlib import Path

from postroom.errors import StoreError
from postroom.store.sqlite import faults

APPLICATION_ID = 0x506F5374  # marks the file as ours, so that another program's database is left alone
OLDEST_SQLITE = (3, 38, 0)  # RETURNING, UPDATE FROM and json_each are all in

MIGRATIONS = (
    """
    CREATE TABLE emails (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        account TEXT NOT NULL,
        status TEXT NOT NULL,
        lane INTEGER NOT NULL,             -- in the order of service, 0 first
        due_at INTEGER,
        wake_up_at INTEGER,                -- when the sweep publishes it (again)
        expires_at INTEGER NOT NULL,
        lease_token TEXT,
        lease_worker TEXT,
        lease_until INTEGER,
        fenced INTEGER NOT NULL DEFAULT 0, -- its final dot may have been written under this lease
        lapsed_token TEXT,                 -- of the fenced claim that lapsed last, until the next claim
        finished_at INTEGER,
        attempts INTEGER NOT NULL,
        crash_count INTEGER NOT NULL,
        scheduled_at INTEGER,
        next_attempt_at INTEGER,
        last_attempt_at INTEGER,
        sent_at INTEGER,
        possible_duplicate INTEGER NOT NULL,
        max_attempts INTEGER NOT NULL,
        on_uncertain TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        key_id TEXT,
        idempotency_key TEXT,
        message_id TEXT NOT NULL,
        subject TEXT NOT NULL,
        subject_folded TEXT NOT NULL,
        submitted TEXT NOT NULL,           -- JSON: sender, to, cc, bcc, reply_to, tags, metadata, attachments
        recipients TEXT NOT NULL,          -- JSON, like the next two
        last_error TEXT,
        timeline TEXT NOT NULL,
        CHECK ((due_at IS NOT NULL) = (status IN ('scheduled', 'queued', 'retrying'))),
        CHECK ((due_at IS NOT NULL) = (wake_up_at IS NOT NULL)),
        CHECK ((lease_until IS NOT NULL) = (status = 'sending')),
        CHECK ((lease_until IS NOT NULL) = (lease_token IS NOT NULL))
    );
    CREATE INDEX emails_listed ON emails (status, account, id);
    CREATE INDEX emails_by_subject ON emails (account, subject_folded, id);
    CREATE INDEX emails_due ON emails (lane, due_at) WHERE due_at IS NOT NULL;
    CREATE INDEX emails_unpublished ON emails (lane, wake_up_at) WHERE wake_up_at IS NOT NULL;
    CREATE INDEX emails_expiring ON emails (expires_at) WHERE due_at IS NOT NULL;
    CREATE INDEX emails_claimed ON emails (lease_until) WHERE lease_until IS NOT NULL;
    CREATE INDEX emails_finished ON emails (finished_at) WHERE finished_at IS NOT NULL;

    CREATE TABLE bodies (n INTEGER PRIMARY KEY, html TEXT, text TEXT, headers TEXT NOT NULL);
    CREATE TABLE attachments (n INTEGER NOT NULL, position INTEGER NOT NULL, content BLOB NOT NULL);
    CREATE INDEX attachments_of ON attachments (n, position);

    CREATE TABLE terms (  -- what emails are looked up by: '@' and a recipient's address, '#' and a tag
        account TEXT NOT NULL, term TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (account, term, id)
    ) WITHOUT ROWID;

    CREATE TABLE idempotency (
        account TEXT NOT NULL, endpoint TEXT NOT NULL, key TEXT NOT NULL,
        fingerprint TEXT NOT NULL, answer TEXT NOT NULL, expires_at INTEGER NOT NULL,
        PRIMARY KEY (account, endpoint, key)
    ) WITHOUT ROWID;
    CREATE INDEX idempotency_expiring ON idempotency (expires_at);

    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, scopes TEXT NOT NULL, domains TEXT NOT NULL,
        secret_hash TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER
    ) WITHOUT ROWID;

    CREATE TABLE pulse (n INTEGER PRIMARY KEY, at INTEGER NOT NULL);  -- rewritten to prove that writing works
    """,
)


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes, its file brought to the present layout. Raises `StoreError`."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: use a Python that brings 3.38 or later")
    connection = _connect(path, "rw")
    try:
        _set_up(connection)
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise faults.translated(path, error) from error
    except StoreError:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Any number may stand beside the writer. Raises `sqlite3.Error`."""
    connection = _connect(path, "ro")
    connection.execute("PRAGMA cache_size = -8192")
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=2, check_same_thread=False)


def _set_up(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError("its file system does not support a write-ahead log")
    connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits when the power fails
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages; a rarer checkpoint writes each page fewer times
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA temp_store = MEMORY")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise StoreError(f"{path} is another program's database: name another file")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} was written by a newer Postroom (layout {version}, this one knows {len(MIGRATIONS)}): "
            "upgrade Postroom, or name another file"
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {number}; COMMIT"
        )
