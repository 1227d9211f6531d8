# shellcheck shell=bash
# Building, starting, and waiting until every container says itself that it is healthy.

PATIENCE_SECONDS=${START_SECONDS:-300}
LOG_LINES=20

build_images() {
  say "Building the images (the first time takes a minute or two) …"
  local output
  output=$(compose build 2>&1) || fail "The images cannot be built:
$(printf '%s\n' "$output" | tail -n $LOG_LINES)"
  local image
  for image in $(compose config --images | sort -u); do
    docker image inspect "$image" > /dev/null 2>&1 && continue
    say "Fetching $image …"
    docker pull --quiet "$image" > /dev/null || fail "$image cannot be fetched."
  done
}

# The containers of the store that is not chosen end; their data is kept.
stop_other_store() {
  local other=mongodb
  [ "$(value STORE)" = redis ] || other=redis
  [ -n "$(containers | grep "^$other|")" ] || return 0
  say "Emails were kept in $other so far. They stay there, and go on when you choose it again: STORE=$other make start"
  case $other in
    mongodb) compose --profile mongodb rm --stop --force mongo-express mongodb > /dev/null 2>&1 || true ;;
    redis) compose --profile redis rm --stop --force redis > /dev/null 2>&1 || true ;;
  esac
}

# bring_up WORKERS: starts what does not run yet, in the order of what needs what, and tells how it goes.
bring_up() {
  local output began=$SECONDS
  output=$(mktemp)
  [ "$(value MAIL)" = mailpit ] || compose --profile mailpit rm --stop --force mailpit > /dev/null 2>&1 || true
  is_guarded || compose --profile guard rm --stop --force guard > /dev/null 2>&1 || true
  SERVICES=$(compose config --services | sort)
  LISTING=$(containers)
  local before=$LISTING told='' service up crashes=0
  say "Starting:"
  compose up --detach --no-build --scale "worker=$1" > "$output" 2>&1 &
  up=$!
  while [ "$(count_words $told)" -lt "$(count_words $SERVICES)" ]; do
    [ $((SECONDS - began)) -lt "$PATIENCE_SECONDS" ] || give_up "$told" "Not healthy within $PATIENCE_SECONDS s."
    sleep 0.5
    if [ -n "$up" ] && ! kill -0 "$up" 2> /dev/null; then
      wait "$up" || give_up "$told" "$(tail -n 3 "$output")"
      up=''
    fi
    LISTING=$(containers)
    case $LISTING in *'|restarting|'*) crashes=$((crashes + 1)) ;; esac
    [ "$crashes" -lt 30 ] || give_up "$told" "A container crashes again and again."
    for service in $SERVICES; do
      case " $told " in *" $service "*) continue ;; esac
      is_healthy "$service" "$1" || continue
      if [ "$(ids "$service" "$LISTING")" = "$(ids "$service" "$before")" ]; then
        [ -z "$up" ] || continue # it may be replaced yet
        say "  $service runs and stays as it is"
      else
        say "  $service is healthy ($((SECONDS - began)) s)"
      fi
      told="$told $service"
    done
  done
  rm -f "$output"
}

# ids SERVICE LISTING: of its containers that run
ids() { printf '%s\n' "$2" | grep "^$1|running|" | cut -d '|' -f 5 | sort || true; }

# is_healthy SERVICE WORKERS: whether all its containers in LISTING say so, and there are as many as wanted.
is_healthy() {
  local wanted all healthy
  case $1 in
    worker) wanted=$2 ;;
    guard) wanted=2 ;;
    *) wanted=1 ;;
  esac
  all=$(printf '%s\n' "$LISTING" | grep -c "^$1|" || true)
  healthy=$(printf '%s\n' "$LISTING" | grep -c "^$1|running|.*(healthy)" || true)
  [ "$healthy" -eq "$wanted" ] && [ "$all" -eq "$wanted" ]
}

count_workers() { containers | grep -c '^worker|running' || true; }

# wait_until_healthy SERVICE WORKERS
wait_until_healthy() {
  local began=$SECONDS
  SERVICES=$1 LISTING=$(containers)
  until is_healthy "$1" "$2"; do
    [ $((SECONDS - began)) -lt "$PATIENCE_SECONDS" ] || give_up '' "$1 is not healthy within $PATIENCE_SECONDS s."
    sleep 0.5
    LISTING=$(containers)
  done
}

# give_up TOLD REASON: shows why, with the last words of what is not healthy.
give_up() {
  local service
  for service in ${SERVICES:-worker}; do
    case " $1 " in *" $service "*) continue ;; esac
    if containers | grep "^$service|" | grep -qv '(healthy)'; then
      say "--- $service: $(containers | grep "^$service|" | cut -d '|' -f 3 | head -n 1)"
      compose --ansi never logs --no-color --no-log-prefix --tail $LOG_LINES "$service" 2>&1 | sed $'s/\e\[2K//' || true
    fi
  done
  fail "Postroom did not start. $2
\`make status\` and \`make logs\` tell more; \`make start\` again goes on from here."
}

# The key that `make start` prints: made once, kept in .env, and put into whichever store is in use.
need_api_key() {
  local key
  key=$(value POSTROOM_API_KEY)
  if [ -z "$key" ]; then
    key=$(compose exec -T fastapi-app postroom keys mint) || fail "No API key could be made."
    remember POSTROOM_API_KEY "$key"
  fi
  ! key_works "$key" || return 0
  printf '%s' "$key" | compose exec -T fastapi-app postroom keys add "make start" > /dev/null || fail "The API key could not be stored."
  key_works "$key" ||
    fail "The API key in .env is refused; was it revoked? Delete the line POSTROOM_API_KEY there, and \`make start\` makes another."
}

key_works() {
  local code
  exec 3<> "/dev/tcp/$(api_host)/$(value API_PORT)" || return 1
  printf 'GET /emails?limit=1 HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n' "$1" >&3
  read -r -t 10 _ code _ <&3 || true
  exec 3>&-
  [ "${code:-}" = 200 ]
}
