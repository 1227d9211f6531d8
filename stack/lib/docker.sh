# shellcheck shell=bash
# Docker as we need it: that it is there, and the commands that the rest is made of.

ENGINE_NEEDED=25  # health checks that look often while a container starts
COMPOSE_NEEDED=2.24  # optional dependencies, and optional files of settings

export BUILDX_NO_DEFAULT_ATTESTATIONS=1 # they would make a new image of every build, and new containers of that

compose() { docker compose "$@"; }

# Runs compose silently; when it fails, says what it said.
compose_quietly() {
  local output
  output=$(compose "$@" 2>&1) || fail "docker compose ${1} failed:
$output"
}

project() {
  local name=${COMPOSE_PROJECT_NAME:-$(value COMPOSE_PROJECT_NAME)}
  echo "${name:-postroom}"
}

# Each container of ours: service|state|status|name|id
containers() {
  docker ps --all --filter "label=com.docker.compose.project=$(project)" \
    --format '{{.Label "com.docker.compose.service"}}|{{.State}}|{{.Status}}|{{.Names}}|{{.ID}}'
}

need_stack() {
  need_docker
  [ -f .env ] || fail "There is no stack yet: \`make start\` makes one."
  need_own
}

# SERVICE, if given, must be one of this stack: of others, Compose shows no logs and says nothing.
need_service() {
  [ -n "${SERVICE:-}" ] || return 0
  local services
  services=$(compose config --services | sort | tr '\n' ' ')
  case " $services" in *" $SERVICE "*) ;; *) fail "SERVICE=$SERVICE is unknown: choose one of ${services% }." ;; esac
}

need_docker() {
  command -v docker > /dev/null ||
    fail "Docker is not installed. See https://docs.docker.com/engine/install/ (or try Postroom without it: \`make run\`)."
  local engine problem
  if ! engine=$(docker version --format '{{.Server.Version}}' 2> /dev/null) || [ -z "$engine" ]; then
    problem=$(docker version 2>&1 > /dev/null || true)
    case $problem in
      *"permission denied"*) fail "Docker runs, but you may not use it. Join the group docker, or use sudo." ;;
    esac
    fail "Docker is installed but not running. Start Docker Desktop, or: sudo systemctl start docker"
  fi
  version_at_least "$ENGINE_NEEDED" "$engine" ||
    fail "Docker Engine $engine is too old: $ENGINE_NEEDED or newer is needed."
  local plugin
  plugin=$(docker compose version --short 2> /dev/null) && [ -n "$plugin" ] ||
    fail "The Compose plugin of Docker is missing. See https://docs.docker.com/compose/install/linux/"
  version_at_least "$COMPOSE_NEEDED" "$plugin" ||
    fail "Docker Compose $plugin is too old: $COMPOSE_NEEDED or newer is needed."
}

# version_at_least NEEDED FOUND: compares major and minor.
version_at_least() {
  local needed_major=${1%%.*} needed_minor=0 found=${2#v}
  case $1 in *.*) needed_minor=${1#*.} ;; esac
  local major=${found%%.*} rest=${found#*.}
  local minor=${rest%%[!0-9]*}
  is_number "$major" && is_number "${minor:=0}" || return 1
  [ "$major" -gt "$needed_major" ] || { [ "$major" -eq "$needed_major" ] && [ "$minor" -ge "$needed_minor" ]; }
}
