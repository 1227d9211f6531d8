"""What clients send, as schemas: the shape is checked here, the meaning in `drafts`.

Lenient where existing clients differ: a string or a list, null or absent, three spellings of headers and of contents,
two of tags. Members that nobody knows are ignored. What is absent is None, whichever way it was left out.
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from postroom.mail.draft import METADATA_NAME, MOST_METADATA, TAG_TEXT

JsonSchema = dict[str, Any]


class Sent(BaseModel):
    """A JSON object from a client."""

    model_config = ConfigDict(extra="ignore", populate_by_name=False, hide_input_in_errors=True, strict=True)


def _as_list(value: object) -> object:
    """One address is a list of one; an empty text is none."""
    return ([value] if value else None) if isinstance(value, str) else value


def _header_pairs(value: object) -> object:
    """A JSON object, a list of `{name, value}`, or `[]`, as a list of pairs; the values as text."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        pairs = [(one["name"], one.get("value")) for one in value]
    else:
        return value
    return [(name, _text_of(one)) for name, one in pairs if one is not None]


def _text_of(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else str(value)
    return value


def _tag_pair(value: object) -> object:
    """`{name, value}`, or an object with one member whose name is the tag's name."""
    if isinstance(value, dict) and "name" in value and "value" in value:
        return (value["name"], value["value"])
    if isinstance(value, dict) and len(value) == 1 and "name" not in value and "value" not in value:
        return next(iter(value.items()))
    return value


def _no_name(value: object) -> object:
    """One client sends `false` for an attachment without a file name."""
    return None if value is False else value


def _octets(value: object) -> object:
    """A `Buffer` of Node in JSON, as older versions of its client send one, is the list of octets that it holds."""
    if isinstance(value, dict) and value.get("type") == "Buffer" and isinstance(value.get("data"), list):
        return value["data"]
    return value


_ADDRESS: JsonSchema = {"type": "string", "examples": ["Ann Example <ann@example.com>"], "maxLength": 5000}
_ADDRESSES: JsonSchema = {"anyOf": [_ADDRESS, {"type": "array", "items": _ADDRESS}, {"type": "null"}]}
_SOME: JsonSchema = {"anyOf": [_ADDRESS | {"minLength": 1}, {"type": "array", "items": _ADDRESS, "minItems": 1}]}
_NAMED = {"type": "object", "required": ["name", "value"], "properties": {}}
_HEADER_VALUE: JsonSchema = {"type": ["string", "number", "boolean", "null"]}
_HEADERS: JsonSchema = {
    "anyOf": [
        {"type": "object", "additionalProperties": _HEADER_VALUE},
        {
            "type": "array",
            "items": _NAMED | {"properties": {"name": {"type": "string"}, "value": _HEADER_VALUE}},
        },
        {"type": "null"},
    ],
    "examples": [{"X-Entity-Ref-ID": "order/4711"}],
}
_TAG_TEXT: JsonSchema = {"type": "string", "pattern": f"^{TAG_TEXT}$"}
_TAG: JsonSchema = _NAMED | {"properties": {"name": _TAG_TEXT, "value": _TAG_TEXT}}

Strings = Annotated[list[str], Field(fail_fast=True)]  # one problem is enough of a list that may be long
Addresses = Annotated[Strings | None, BeforeValidator(_as_list), WithJsonSchema(_ADDRESSES)]
SomeAddresses = Annotated[Strings | None, BeforeValidator(_as_list), WithJsonSchema(_SOME)]
Pairs = Annotated[list[tuple[str, str]], Field(fail_fast=True)]
Headers = Annotated[Pairs | None, BeforeValidator(_header_pairs), WithJsonSchema(_HEADERS)]
Tag = Annotated[tuple[str, str], BeforeValidator(_tag_pair), WithJsonSchema(_TAG)]
Metadata = Annotated[
    dict[str, Any] | None,
    WithJsonSchema(
        {
            "type": ["object", "null"],
            "propertyNames": {"pattern": f"^{METADATA_NAME}$"},
            "maxProperties": MOST_METADATA,
            "additionalProperties": True,
            "examples": [{"order": 4711}],
        }
    ),
]
_OCTETS: JsonSchema = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 1}
_BUFFER: JsonSchema = {
    "type": "object",
    "required": ["type", "data"],
    "properties": {"type": {"const": "Buffer"}, "data": _OCTETS},
}
Content = Annotated[
    Any,
    BeforeValidator(_octets),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "contentEncoding": "base64", "minLength": 1},
                _OCTETS,
                _BUFFER,
            ]
        }
    ),
]
NotOffered = Annotated[Any, SkipJsonSchema()]  # not documented: there are generators of clients that know no such type


class AttachmentIn(Sent):
    """A file sent with an email; one with a `content_id` is shown inline."""

    model_config = ConfigDict(json_schema_extra={"required": ["content"]})

    content: Content = Field(
        None, description="Base64 text, a list of octets, a `Buffer` of Node, or plain text for a `text/*` type."
    )
    filename: Annotated[str | None, BeforeValidator(_no_name)] = Field(None, examples=["invoice.pdf"])
    content_type: str | None = Field(
        None,
        validation_alias=AliasChoices("content_type", "contentType"),
        description="Guessed from the file name when absent.",
        examples=["application/pdf"],
    )
    content_id: str | None = Field(
        None,
        validation_alias=AliasChoices("content_id", "inline_content_id"),
        description="What a `cid:` URL in the HTML refers to, without angle brackets.",
    )
    path: NotOffered = None


Attachments = Annotated[list[AttachmentIn], Field(fail_fast=True)]
Tags = Annotated[list[Tag], Field(fail_fast=True)]


class EmailIn(Sent):
    """An email to send. `template`, `topic_id` and the `path` of an attachment are not offered, and refused."""

    model_config = ConfigDict(
        json_schema_extra={
            # Not `anyOf`: for that, generated clients have a type with no other member beside the two.
            "if": {"required": ["html"], "properties": {"html": {"type": "string"}}},
            "else": {"required": ["text"], "properties": {"text": {"type": "string"}}},
            "examples": [
                {
                    "from": "Shop <shop@example.com>",
                    "to": ["ann@example.net"],
                    "subject": "Your order",
                    "text": "Thank you!",
                }
            ],
        }
    )

    sender: Annotated[str, WithJsonSchema(_ADDRESS)] = Field(alias="from", description="`a@b` or `Name <a@b>`.")
    to: SomeAddresses = Field(description="At least one.")
    cc: Addresses = None
    bcc: Addresses = Field(None, description="Named in no header.")
    reply_to: Addresses = None
    subject: Annotated[str, WithJsonSchema({"type": "string", "minLength": 1})]
    html: str | None = Field(None, description="This or `text` is needed.")
    text: str | None = Field(None, description="Derived from `html` if absent; send an empty string for no plain text.")
    headers: Headers = Field(None, description="Further headers. Those that Postroom writes itself are ignored.")
    attachments: Attachments | None = Field(None, max_length=1000)
    tags: Tags | None = Field(None, max_length=75, description="Not put into the message.")
    scheduled_at: str | None = Field(
        None,
        description="When to send: a date and time of ISO 8601 (UTC unless it says otherwise), `in 10 minutes`,"
        " `tomorrow at 9am`.",
        examples=["in 10 minutes"],
    )
    metadata: Metadata = Field(
        None, description="Kept with the email and returned with it, never put into the message."
    )
    priority: Literal["urgent", "normal", "bulk"] | None = Field(
        None, description="The lane it waits in. The default is `normal`, and `bulk` for emails of a large batch."
    )
    max_attempts: StrictInt | None = Field(None, ge=1, le=1000, description="Attempts after which the email fails.")
    expires_at: str | None = Field(
        None,
        description="When to stop trying, written like `scheduled_at`; at most 366 days ahead.",
        examples=["in 2 hours"],
    )
    on_uncertain: Literal["resend", "hold"] | None = Field(
        None,
        description="What to do when a crash, or a relay that stays silent, leaves unknown whether the email was sent:"
        " `resend` (at least once, the default) or `hold` (at most once).",
    )
    template: NotOffered = None
    topic_id: NotOffered = None


class ScheduleIn(Sent):
    """A new time for a scheduled email."""

    scheduled_at: str = Field(
        description="Written as for a submission. The email's deadline moves by as much.", examples=["in 1 hour"]
    )


class ApiKeyIn(Sent):
    """A key to make. `domain_id` is not offered, and refused: domains have no ids here."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "shop", "permission": "sending_access"}]})

    name: str = Field(min_length=1, max_length=100, examples=["shop"])
    permission: Literal["full_access", "sending_access"] | None = Field(
        None, description="`full_access` is the default; `sending_access` may submit emails and nothing else."
    )
    domains: Strings | None = Field(
        None,
        max_length=100,
        description="The sender domains whose emails the key may submit and change; any if absent.",
    )
    domain_id: NotOffered = None
    expires_at: str | None = Field(
        None, description="When the key expires, written like `scheduled_at`; never if absent."
    )
