"""What was measured, as JSON: one file for each scenario, and one that the documentation is written from."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.process import ROOT
from bench.systems.base import Servers

FOLDER = ROOT / "bench" / "results"
PUBLISHED = FOLDER / "published.json"
PACKAGES = ("fastapi", "uvicorn", "celery", "kombu", "pymongo", "redis", "taskiq", "taskiq-aio-pika", "aiosmtplib")

Json = dict[str, Any]


def save(scenario: str, content: Mapping[str, Any], servers: Servers) -> Path:
    """Writes what a scenario has measured, with the facts about where."""
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{scenario}.json"
    file.write_text(json.dumps({"facts": facts(servers), **content}, indent=1) + "\n")
    return file


def with_earlier(name: str, content: Json) -> Json:
    """A scenario's content with what an earlier run has found about other systems; they are in the first column."""
    file = FOLDER / f"{name}.json"
    earlier: Json = json.loads(file.read_text()) if file.exists() else {}
    if earlier.get("head") != content["head"]:
        return content
    now = {line[0] for line in content["lines"]}
    others = [line for line in earlier["lines"] if line[0] not in now]
    return {**content, "lines": sorted(content["lines"] + others, key=lambda line: str(line[0]), reverse=True)}


def publish() -> Json:
    """Takes what the scenarios have left into the published file, each in place of what it said before."""
    published: Json = json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else {}
    for file in sorted(FOLDER.glob("*.json")):
        if file != PUBLISHED:
            published[file.stem] = json.loads(file.read_text())
    PUBLISHED.write_text(json.dumps(published, indent=1) + "\n")
    return published


def facts(servers: Servers) -> Json:
    """The machine and the versions."""
    return {
        "machine": f"{os.cpu_count()} cores ({_processor()}), {_memory_gb():.0f} GB, {_system()}",
        "python": platform.python_version() + (" of the system" if sys.base_prefix == "/usr" else ""),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "servers": {
            "RabbitMQ": servers.rabbitmq_version(),
            "MongoDB": servers.mongodb_version(),
            "Redis": _word(["redis-server", "--version"], after="v="),
            "Postfix": _word(["postconf", "-d", "-h", "mail_version"]),
        },
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    return platform.freedesktop_os_release()["PRETTY_NAME"]


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _word(command: list[str], after: str = "") -> str:
    """The word in what a command prints, behind that beginning."""
    if shutil.which(command[0]) is None:
        return ""
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return printed.partition(after)[2].split()[0] if after else printed.strip()
