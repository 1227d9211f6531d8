"""What every refusal of the API must look like, whatever it is for."""

from typing import Any

import httpx

CANARY = "canary7f3ac1"

NAMES = frozenset(
    [
        "invalid_idempotency_key",
        "validation_error",
        "missing_api_key",
        "restricted_api_key",
        "invalid_api_key",
        "not_found",
        "method_not_allowed",
        "invalid_idempotent_request",
        "concurrent_idempotent_requests",
        "missing_required_field",
        "invalid_attachment",
        "invalid_parameter",
        "invalid_from_address",
        "invalid_access",
        "invalid_region",
        "rate_limit_exceeded",
        "daily_quota_exceeded",
        "monthly_quota_exceeded",
        "security_error",
        "application_error",
        "internal_server_error",
    ]
)


def assert_refused(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """Checks status, name and shape, and that nothing of the request comes back; returns the body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    check_shape(body, status, name)
    assert CANARY not in answer.text
    assert len(answer.content) < 4096
    return dict(body)


def check_shape(body: dict[str, Any], status: int, name: str) -> None:
    """Checks the one shape of all refusals."""
    assert name in NAMES
    assert body["statusCode"] == status
    assert body["name"] == name, body
    assert isinstance(body["message"], str)
    assert body["message"]
    assert not {"error", "type", "code"} & body.keys()
    assert body["request_id"]
    for detail in body.get("details", ()):
        assert set(detail) == {"member", "message"}
