"""`make start` says in one sentence what is wrong with Docker. Docker is played by a script; the rest is real."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FINE = {"engine": "26.1.5+dfsg1", "compose": "2.26.1-4"}


def make_start(folder: Path, docker: str | None) -> str:
    """The sentence with which it ends, where `docker` is the text of that program, or None for none."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("bash", "dirname"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    if docker is not None:
        (programs / "docker").write_text(f"#!{programs / 'bash'}\n{docker}")
        (programs / "docker").chmod(0o755)
    done = subprocess.run(
        [programs / "bash", ROOT / "stack" / "stack", "start"],
        cwd=folder,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    return done.stderr


def docker(*, engine: str = FINE["engine"], compose: str | None = FINE["compose"], refuses: str = "") -> str:
    """A Docker of these versions, without Compose for None, or one that refuses everything with a sentence."""
    answer = f"echo {compose}" if compose else "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1"
    return f"""
      if [ -n "{refuses}" ]; then echo "{refuses}" >&2; exit 1; fi
      case $* in
        "version --format"*) echo {engine} ;;
        "compose version"*) {answer} ;;
        *) echo "unexpected: $*" >&2; exit 2 ;;
      esac
    """


def test_missing_docker_is_said_with_where_to_get_it(tmp_path: Path) -> None:
    assert make_start(tmp_path, None).startswith("Docker is not installed. See https://docs.docker.com")


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "Docker is installed but not running."),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            "Docker runs, but you may not use it.",
        ),
    ],
)
def test_docker_that_does_not_answer_is_said_with_what_to_do(tmp_path: Path, refusal: str, sentence: str) -> None:
    assert make_start(tmp_path, docker(refuses=refusal)).startswith(sentence)


@pytest.mark.parametrize(
    ("versions", "sentence"),
    [
        ({"engine": "24.0.9"}, "Docker Engine 24.0.9 is too old: 25 or newer is needed.\n"),
        ({"engine": "dev"}, "Docker Engine dev is too old: 25 or newer is needed.\n"),
        ({"compose": "2.23.3"}, "Docker Compose 2.23.3 is too old: 2.24 or newer is needed.\n"),
        ({"compose": "1.29.2"}, "Docker Compose 1.29.2 is too old: 2.24 or newer is needed.\n"),
        ({"compose": None}, "The Compose plugin of Docker is missing."),
    ],
)
def test_what_is_too_old_or_missing_is_named_with_what_is_needed(
    tmp_path: Path, versions: dict[str, str], sentence: str
) -> None:
    assert make_start(tmp_path, docker(**versions)).startswith(sentence)


@pytest.mark.parametrize(
    "versions", [{"engine": "25.0.0", "compose": "v2.24.0"}, {"engine": "28.2", "compose": "5.0.1"}]
)
def test_newer_versions_are_taken(tmp_path: Path, versions: dict[str, str]) -> None:
    assert "old" not in make_start(tmp_path, docker(**versions))  # it gets further, to tools that are not here


def run(folder: Path, script: str, *, others: str = "", user: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a function of the script there, where Docker says this of the containers and volumes of that name."""
    lines = f"""
      set -euo pipefail
      for part in tell docker choices up; do . "{folder}/stack/lib/$part.sh"; done
      docker() {{
        case $* in
          "ps --all --filter label=com.docker.compose.project="*) printf '{others}' ;;
          "volume ls --quiet"*) ;;
          "compose config --services") printf 'worker\\nfastapi-app\\n' ;;
          "compose --profile"*) echo "removed: $*" >&2 ;;
          *) echo "unexpected: $*" >&2; exit 2 ;;
        esac
      }}
      {script}
    """
    if not (folder / "stack").exists():
        shutil.copytree(ROOT / "stack", folder / "stack")
    return subprocess.run(["bash", "-c", lines], cwd=folder, user=user, capture_output=True, text=True, timeout=60)


def test_last_line_of_env_that_an_editor_left_open_is_ended_first(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("API_PORT=9000")
    done = run(tmp_path, "write_secrets")
    assert done.returncode == 0, done.stderr
    first, second, *_ = (tmp_path / ".env").read_text().splitlines()
    assert first == "API_PORT=9000"
    assert second.startswith("RABBIT_ADMIN_PASSWORD=")


def test_folder_without_env_does_not_take_over_a_stack_of_that_name(tmp_path: Path) -> None:
    done = run(tmp_path, "write_secrets", others="/srv/first\\n")
    assert done.returncode == 1
    assert 'There is a stack "postroom" already, made in /srv/first,' in done.stderr
    assert "COMPOSE_PROJECT_NAME=postroom-2 make start" in done.stderr
    assert not (tmp_path / ".env").exists()
    (tmp_path / ".env").write_text("# of the first one\n")
    assert run(tmp_path, "write_secrets", others="/srv/first\\n").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another user do something")
@pytest.mark.parametrize("owned", [".", "stack", ".env"])
def test_what_belongs_to_another_user_is_named_with_what_to_do(owned: str) -> None:
    somebody = 12345
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(ROOT / "stack", folder / "stack")
        (folder / ".env").touch(0o600)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, somebody, somebody)
        assert run(folder, "need_own", user=somebody).returncode == 0
        os.chown(folder / owned, 0, 0)
        done = run(folder, "need_own", user=somebody)
        assert done.returncode == 1
        assert f"{(folder / owned).resolve()} belongs to root, and you are " in done.stderr
        assert f"sudo chown -R {somebody} '{folder.resolve()}'" in done.stderr
        assert run(folder, "need_own").returncode == 0, "root may"


@pytest.mark.parametrize("address", ["localhost", "::1", "[::1]", "127.0.0.1:8022", "127"])
def test_address_that_docker_would_not_take_is_refused_and_not_remembered(tmp_path: Path, address: str) -> None:
    (tmp_path / ".env").touch()
    done = run(tmp_path, f"choose_bind '{address}'")
    assert (done.returncode, (tmp_path / ".env").read_text()) == (1, "")
    assert f"API_BIND={address} is not an IPv4 address" in done.stderr


@pytest.mark.parametrize("name", ["MyStack", "my stack", "-stack", "stack.2"])
def test_name_that_docker_would_not_take_is_refused_and_not_remembered(tmp_path: Path, name: str) -> None:
    (tmp_path / ".env").touch()
    done = run(tmp_path, f"choose_name '{name}'")
    assert (done.returncode, (tmp_path / ".env").read_text()) == (1, "")
    assert f"COMPOSE_PROJECT_NAME={name} is no name for a stack" in done.stderr


def test_other_store_is_ended_also_where_an_earlier_start_failed_after_the_choice(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STORE=redis\n")
    done = run(tmp_path, "stop_other_store", others="mongodb|running|Up|m|1\\nredis|running|Up|r|2\\n")
    assert done.returncode == 0, done.stderr
    assert "STORE=mongodb make start" in done.stdout
    done = run(tmp_path, "stop_other_store", others="redis|running|Up|r|2\\n")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("service", "code"), [("worker", 0), ("", 0), ("work", 1), ("api", 1)])
def test_service_that_the_stack_does_not_have_is_refused_with_those_that_it_has(
    tmp_path: Path, service: str, code: int
) -> None:
    done = run(tmp_path, f"SERVICE='{service}' need_service")
    assert done.returncode == code
    assert done.stderr == ("" if not code else f"SERVICE={service} is unknown: choose one of fastapi-app worker.\n")


def arm_guard(folder: Path, endpoint: str, *, group: str = "") -> tuple[str, list[str]]:
    """What `make start` says of the guard and writes to `.env`, where Docker has this endpoint, and a container can use
    it in this group, or cannot."""
    (folder / ".env").write_text("STORE=redis\nGUARD=yes\nIMAGE_TAG=local\nGUARD_SOCKET=/former.sock\n")
    script = f"""
      set -euo pipefail
      for part in tell choices guard; do . "{ROOT}/stack/lib/$part.sh"; done
      uname() {{ echo Linux; }}
      docker() {{
        case $* in
          "context inspect"*) echo "{endpoint}" ;;
          "info --format"*) echo "Debian GNU/Linux 12" ;;
          "run --rm --network none"*) [ -n "{group}" ] && echo "{group}" ;;
          *) echo "unexpected: $*" >&2; exit 2 ;;
        esac
      }}
      arm_guard
    """
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, (folder / ".env").read_text().splitlines()


def test_guard_gets_the_socket_of_the_chosen_engine_and_the_group_that_may_use_it(tmp_path: Path) -> None:
    said, written = arm_guard(tmp_path, "unix:///run/user/1000/docker.sock", group="998")
    assert said == ""
    assert {"GUARD_SOCKET=/run/user/1000/docker.sock", "GUARD_GROUP=998", "COMPOSE_PROFILES=redis,guard"} <= set(
        written
    )


@pytest.mark.parametrize("endpoint", ["tcp://192.0.2.1:2376", "ssh://ann@host.example", "unix:///var/run/docker.sock"])
def test_guard_without_a_socket_that_it_can_use_is_left_out_in_a_sentence(tmp_path: Path, endpoint: str) -> None:
    said, written = arm_guard(tmp_path, endpoint)
    assert said.startswith("Left out: the guard")
    assert endpoint in said
    assert "COMPOSE_PROFILES=redis" in written
