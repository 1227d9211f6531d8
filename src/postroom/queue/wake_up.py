"""The wake-up as it travels through a broker: `{"v": 1, "ids": […], "lane": "…"}`, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from postroom.mail.email import Json, Lane

TASK = "postroom.deliver"  # what brokers and dashboards call the work on one wake-up
VERSION = 1
MOST_IDS = 1000
LONGEST_ID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUp:
    """One chunk: emails of one lane that wait."""

    ids: tuple[str, ...]
    lane: Lane


def encode(ids: Sequence[str], lane: Lane) -> dict[str, Json]:
    """The chunk as a broker carries it."""
    return {"v": VERSION, "ids": list(ids), "lane": str(lane)}


def decode(payload: object) -> WakeUp:
    """The chunk that somebody published. Raises `ValueError` with a sentence when it is not one of this version."""
    if not isinstance(payload, dict) or payload.get("v") != VERSION:
        version = payload.get("v") if isinstance(payload, dict) else None
        raise ValueError(f"wake-up of an unknown version ({str(version)[:20]}); this worker knows {VERSION}")
    ids = payload.get("ids")
    if not isinstance(ids, list) or len(ids) > MOST_IDS or not all(_is_id(one) for one in ids):
        raise ValueError("wake-up without a list of ids")
    try:
        return WakeUp(ids=tuple(ids), lane=Lane(str(payload.get("lane"))))
    except ValueError:
        raise ValueError("wake-up of an unknown lane") from None


def _is_id(one: object) -> bool:
    return isinstance(one, str) and 0 < len(one) <= LONGEST_ID
