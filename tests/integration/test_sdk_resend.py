"""The resend client for Python, unchanged, against the product: only its address and key are set."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import resend
from resend.exceptions import InvalidApiKeyError, MissingRequiredFieldsError, ResendError, ValidationError

from postroom.mail.api_key import SENDING_ACCESS
from tests.product import Product

EMAIL: resend.Emails.SendParams = {
    "from": "Ann <ann@example.com>",
    "to": ["bob@example.net"],
    "subject": "Hello",
    "html": "<p>Hello</p>",
}


@pytest.fixture(autouse=True)
def service(delivering: Product, monkeypatch: pytest.MonkeyPatch) -> Product:
    """The product, and the client pointed at it."""
    monkeypatch.setattr(resend, "api_url", delivering.base_url)
    monkeypatch.setattr(resend, "api_key", delivering.key)
    return delivering


def test_sends_and_reads(service: Product) -> None:
    sent = resend.Emails.send(
        {
            **EMAIL,
            "cc": "c@example.net",
            "reply_to": ["r@example.com"],
            "headers": {"X-One": "1"},
            "tags": [{"name": "kind", "value": "test"}],
            "attachments": [{"filename": "a.txt", "content": list(b"abc")}],
        }
    )
    service.wait_for(sent["id"], "sent")
    email = resend.Emails.get(sent["id"])
    assert email["last_event"] == "sent"
    assert email["from"] == EMAIL["from"]
    assert email["to"] == EMAIL["to"]
    assert email["cc"] == ["c@example.net"]
    assert email["html"] == EMAIL["html"]
    assert email["tags"] == [{"name": "kind", "value": "test"}]


def test_idempotency_key_brings_the_same_id_back(service: Product) -> None:
    options: resend.Emails.SendOptions = {"idempotency_key": "python/1"}
    assert resend.Emails.send(EMAIL, options)["id"] == resend.Emails.send(EMAIL, options)["id"]
    with pytest.raises(ResendError) as caught:
        resend.Emails.send({**EMAIL, "subject": "Other"}, options)
    assert (caught.value.code, caught.value.error_type) == (409, "invalid_idempotent_request")


def test_batch_strict_and_permissive(service: Product) -> None:
    bad: Any = {**EMAIL, "to": ["nobody"]}
    assert len(resend.Batch.send([EMAIL, EMAIL])["data"]) == 2
    with pytest.raises(ValidationError):
        resend.Batch.send([EMAIL, bad], {"batch_validation": "strict"})
    permissive = resend.Batch.send([bad, EMAIL], {"batch_validation": "permissive"})
    assert len(permissive["data"]) == 1
    assert [error["index"] for error in permissive["errors"]] == [0]
    keyed: resend.Batch.SendOptions = {"idempotency_key": "python-batch/1"}
    assert resend.Batch.send([EMAIL], keyed)["data"] == resend.Batch.send([EMAIL], keyed)["data"]


def test_schedules_moves_and_cancels(service: Product) -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    sent = resend.Emails.send({**EMAIL, "scheduled_at": "in 1 hour"})
    updated = resend.Emails.update({"id": sent["id"], "scheduled_at": later.isoformat()})
    assert updated["id"] == sent["id"]
    email = resend.Emails.get(sent["id"])
    assert email["last_event"] == "scheduled"
    assert abs(datetime.fromisoformat(str(email["scheduled_at"])) - later) < timedelta(seconds=1)
    assert resend.Emails.cancel(sent["id"])["id"] == sent["id"]
    assert resend.Emails.get(sent["id"])["last_event"] == "canceled"
    with pytest.raises(ValidationError):
        resend.Emails.cancel(sent["id"])


def test_lists_page_by_page(service: Product) -> None:
    ids = [one["id"] for one in resend.Batch.send([EMAIL] * 5)["data"]][::-1]
    first = resend.Emails.list({"limit": 2})
    assert (first["object"], first["has_more"]) == ("list", True)
    assert [one["id"] for one in first["data"]] == ids[:2]
    second = resend.Emails.list({"limit": 2, "after": ids[1]})
    assert [one["id"] for one in second["data"]] == ids[2:4]
    back = resend.Emails.list({"limit": 1, "before": ids[2]})
    assert [one["id"] for one in back["data"]] == [ids[1]]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"from": "a@example.com", "to": "b@example.net", "html": "x"}, MissingRequiredFieldsError),
        ({**EMAIL, "to": "nobody"}, ValidationError),
        ({**EMAIL, "attachments": [{"path": "https://example.com/x"}]}, ResendError),
    ],
)
def test_refusals_are_the_classes_that_callers_catch(service: Product, params: Any, error: type[ResendError]) -> None:
    with pytest.raises(error) as caught:
        resend.Emails.send(params)
    assert type(caught.value) is error
    assert caught.value.message


def test_wrong_key_and_restricted_key(service: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resend, "api_key", "re_wrong")
    with pytest.raises(InvalidApiKeyError):
        resend.Emails.send(EMAIL)
    monkeypatch.setattr(resend, "api_key", service.make_key(scopes=SENDING_ACCESS))
    sent = resend.Emails.send(EMAIL)
    with pytest.raises(ResendError) as caught:
        resend.Emails.get(sent["id"])
    assert (caught.value.code, caught.value.error_type) == (401, "restricted_api_key")


def test_unknown_email(service: Product) -> None:
    with pytest.raises(ResendError) as caught:
        resend.Emails.get("01890000-0000-7000-8000-000000000000")
    assert (caught.value.code, caught.value.error_type) == (404, "not_found")


@pytest.mark.one_engine
@pytest.mark.parametrize(
    "ask",
    [
        resend.Domains.list,
        resend.Webhooks.list,
        resend.Emails.metrics,
        resend.Emails.Receiving.list,
        lambda: resend.Emails.share("01890000-0000-7000-8000-000000000000"),
    ],
)
def test_what_is_not_served_says_what_is(service: Product, ask: Callable[[], object]) -> None:
    with pytest.raises(ResendError, match="of Resend's API, there are /emails, /emails/batch and /api-keys") as caught:
        ask()
    assert (caught.value.code, caught.value.error_type) == (404, "not_found")


def test_api_keys(service: Product) -> None:
    made = resend.ApiKeys.create({"name": "python", "permission": "full_access"})
    assert made["token"]
    assert made["id"] in [one["id"] for one in resend.ApiKeys.list()["data"]]
    resend.ApiKeys.remove(api_key_id=made["id"])
    assert made["id"] not in [one["id"] for one in resend.ApiKeys.list()["data"]]
