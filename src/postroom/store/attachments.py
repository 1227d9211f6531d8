"""The contents of an email's attachments, for whoever composes its message."""

from postroom.errors import Unreadable
from postroom.mail.email import Email
from postroom.store.base import Store


def contents_of(email: Email, *, store: Store) -> list[bytes]:
    """What the email says that it has, in order; asks the store only when there is any. Raises `Unreadable` when the
    store has something else, as when a newer Postroom keeps it elsewhere."""
    contents = store.attachments(email.id) if email.attachments else []
    if [len(content) for content in contents] != [attachment.size for attachment in email.attachments]:
        raise Unreadable(
            f"email {email.id} is damaged in the store, or of a newer Postroom: attachments are missing or incomplete"
        )
    return contents
