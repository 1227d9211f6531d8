# shellcheck shell=bash
# The guard starts again what `docker kill` ended. It needs the socket of Docker's Engine, which makes it root on this machine:
# GUARD=no leaves it out.

choose_guard() {
  case $1 in
    yes | no) remember GUARD "$1" ;;
    *) fail "GUARD=$1 is unknown: choose yes or no." ;;
  esac
}

# Whether it is wished, and the Engine's socket was in reach.
is_guarded() { [ "$(value GUARD)" = yes ] && [ -n "$(value GUARD_SOCKET)" ]; }

# Finds the socket, and the group that may use it as containers see it; without either the guard is left out.
arm_guard() {
  [ "$(value GUARD)" = yes ] || return 0
  local endpoint socket='' group=''
  endpoint=$(docker context inspect --format '{{.Endpoints.docker.Host}}')
  case $endpoint in unix://*) socket=$(engine_socket "${endpoint#unix://}") && group=$(socket_group "$socket") || socket='' ;; esac
  [ -n "$socket" ] ||
    say "Left out: the guard, which starts what \`docker kill\` ended. No container can use $endpoint. \`make start\` starts it, too."
  remember GUARD_SOCKET "$socket"
  remember GUARD_GROUP "${group:-0}"
  remember COMPOSE_PROFILES "$(profiles)"
}

# engine_socket PATH: where the Engine's own machine has it; for Docker Desktop and its like that is a virtual one.
engine_socket() {
  case $(uname -s)/$(docker info --format '{{.OperatingSystem}}') in
    Linux/"Docker Desktop"*) echo /var/run/docker.sock ;;
    Linux/*) echo "$1" ;;
    *) echo /var/run/docker.sock ;;
  esac
}

# socket_group SOCKET: the number of its group, if a container's ordinary user can connect to it in that group.
socket_group() {
  docker run --rm --network none --user 0 --entrypoint python --volume "$1:/docker.sock:ro" "postroom:$(value IMAGE_TAG)" -c '
import os, socket
group = os.stat("/docker.sock").st_gid
os.setgroups([group])
os.setuid(10001)
socket.socket(socket.AF_UNIX).connect("/docker.sock")
print(group)' 2> /dev/null
}

# What is stopped or removed now stays so, also if it was killed a moment ago.
rest_guard() { compose --profile guard stop guard > /dev/null 2>&1 || true; }
