"""The Lua scripts, one per transition, each run by Redis as one atomic step."""

import hashlib
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

Flag = Literal["flags=allow-oom", "flags=no-writes"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text, and the name under which Redis remembers it."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False)
        object.__setattr__(self, "sha", digest.hexdigest())


def _load(name: str, flag: Flag) -> Script:
    folder = resources.files(__package__) / "lua"
    prelude, body = (folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("prelude", name))
    return Script(f"#!lua {flag}\n{prelude}\n{body}")


# All may go on when Redis's memory is full: they let emails end, which frees it. New emails come without a script.
CLAIM = _load("claim", "flags=allow-oom")
GIVE_BACK = _load("give_back", "flags=allow-oom")
HOLD = _load("hold", "flags=allow-oom")
LIVE = _load("live", "flags=allow-oom")
DUE = _load("due", "flags=allow-oom")
PRUNE = _load("prune", "flags=allow-oom")
PICK = _load("pick", "flags=allow-oom")
READ = _load("read", "flags=no-writes")
WALK = _load("walk", "flags=no-writes")
