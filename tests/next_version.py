"""A next version of Postroom: a copy of this one that writes lives of emails in a form that this one cannot read."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import postroom

# What it has at the end of its modules. It reads both forms, as a version must that runs beside an older one.
_MODULES: Mapping[str, str] = {
    "store/redis/lives.py": """
_to_json, _from_json = to_json, from_json


def to_json(life: Life) -> bytes:
    return orjson.dumps((*orjson.loads(_to_json(life)), "one more"))


def from_json(packed: bytes, *rest: object, **more: object) -> Life:
    return _from_json(orjson.dumps(orjson.loads(packed)[:11]), *rest, **more)
""",
    "store/mongo/lives.py": """
_of_recipient_before, _recipient_before = _of_recipient, _recipient


def _of_recipient(recipient: Recipient) -> Document:
    fields = _of_recipient_before(recipient)
    return {"rcpt": fields.pop("address"), **fields}


def _recipient(fields: Document) -> Recipient:
    return _recipient_before({"address": fields.get("rcpt"), **fields})
""",
}


def make(folder: Path) -> str:
    """Makes it in that folder; returns the PYTHONPATH by which a process runs it."""
    source = Path(postroom.__file__).parent
    copy = folder / "next" / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, added in _MODULES.items():
        with (copy / name).open("a") as module:
            module.write(added)
    return str(copy.parent)
