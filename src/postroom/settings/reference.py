"""The reference of all settings, written from their declarations."""

from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from postroom.settings import Settings, variable


def table() -> str:
    """The settings as a Markdown table, in the order of the class."""
    lines = ["| setting | default | values | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{variable(name)}` | {_default(field)} | {_values(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None:
        return "unset"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _values(field: FieldInfo) -> str:
    """What it takes, where that can be said in a word."""
    if field.annotation is bool:
        return "`true` or `false`"
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    least = [bound.ge for bound in field.metadata if isinstance(bound, Ge)]
    above = [f"above {bound.gt}" for bound in field.metadata if isinstance(bound, Gt)]
    most = [bound.le for bound in field.metadata if isinstance(bound, Le)]
    low = str(least[-1]) if least else above[-1] if above else ""
    if most:
        return f"{low} to {most[-1]}"
    return f"{low} or more" if least else low
