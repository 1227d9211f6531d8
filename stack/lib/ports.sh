# shellcheck shell=bash
# The ports on this machine: which, and whether they are free.

default_port() {
  case $1 in
    API_PORT) echo 8022 ;;
    RABBITMQ_PORT) echo 15677 ;;
    FLOWER_PORT) echo 5558 ;;
    MONGODB_PORT) echo 27020 ;;
    MONGO_EXPRESS_PORT) echo 8076 ;;
    MAILPIT_PORT) echo 8025 ;;
  esac
}

# The ports that the chosen stack publishes.
port_names() {
  echo API_PORT RABBITMQ_PORT FLOWER_PORT
  [ "$(value STORE)" != mongodb ] || echo MONGODB_PORT MONGO_EXPRESS_PORT
  [ "$(value MAIL)" != mailpit ] || echo MAILPIT_PORT
}

choose_port() {
  is_number "$2" && [ "$2" -ge 1 ] && [ "$2" -le 65535 ] || fail "$1=$2 is not a port: choose a number from 1 to 65535."
  remember "$1" "$2"
}

need_free_ports() {
  local name port ours
  ours=$(docker ps --filter "label=com.docker.compose.project=$(project)" --format '{{.Ports}}')
  for name in $(port_names); do
    port=$(value "$name")
    case $ours in *":$port->"*) continue ;; esac
    if listens "$name" "$port"; then
      fail "Port $port is taken$(holder "$port"). Stop that, or choose another one: $name=$((port + 1)) make start"
    fi
  done
}

# listens NAME PORT: whether something answers where that port is to be.
listens() {
  local host=127.0.0.1
  [ "$1" != API_PORT ] || host=$(api_host)
  (exec 3<> "/dev/tcp/$host/$2") 2> /dev/null
}

# holder PORT: by whom, as far as this machine tells.
holder() {
  local who
  who=$(docker ps --filter "publish=$1" --format '{{.Names}}' | head -n 1)
  if [ -n "$who" ]; then
    echo " by the container $who"
    return
  fi
  who=$({ ss -Hltnp "sport = :$1" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1, process \2/p' || true; } 2> /dev/null | head -n 1)
  [ -n "$who" ] || who=$({ lsof -nP -iTCP:"$1" -sTCP:LISTEN | awk 'NR == 2 { print $1 ", process " $2 }' || true; } 2> /dev/null)
  [ -z "$who" ] || echo " by $who"
}
