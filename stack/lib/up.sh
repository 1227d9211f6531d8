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

# With another store than before, the former one's containers end; their data stay.
stop_former_store() {
  [ -n "$1" ] && [ "$1" != "$(value STORE)" ] || return 0
  say "Emails were kept in $1 so far. They stay there, and go on when you choose it again: STORE=$1 make start"
  case $1 in
    mongodb) compose --profile mongodb rm --stop --force mongo-express mongodb > /dev/null 2>&1 || true ;;
    redis) compose --profile redis rm --stop --force redis > /dev/null 2>&1 || true ;;
  esac
}

# bring_up WORKERS: starts what does not run yet, in the order of what needs what, and tells how it goes.
bring_up() {
  local output began=$SECONDS
  output=$(mktemp)
  SERVICES=$(compose config --services | sort)
  [ "$(value MAIL)" = mailpit ] || compose --profile mailpit rm --stop --force mailpit > /dev/null 2>&1 || true
  say "Starting:"
  compose up --detach --no-build --scale "worker=$1" > "$output" 2>&1 &
  local up=$! told='' service
  while :; do
    for service in $SERVICES; do
      case " $told " in *" $service "*) continue ;; esac
      if is_healthy "$service" "$1"; then
        told="$told $service"
        say "  $service is healthy ($((SECONDS - began)) s)"
      fi
    done
    if ! kill -0 "$up" 2> /dev/null; then
      wait "$up" || give_up "$told" "$(tail -n 3 "$output")"
      [ "$(count_words $told)" -lt "$(count_words $SERVICES)" ] || break
    fi
    [ $((SECONDS - began)) -lt "$PATIENCE_SECONDS" ] || give_up "$told" "Not healthy within $PATIENCE_SECONDS s."
    sleep 1
  done
  rm -f "$output"
}

# is_healthy SERVICE WORKERS: whether all its containers say so, and there are as many as wanted.
is_healthy() {
  local wanted=1 healthy others
  [ "$1" != worker ] || wanted=$2
  healthy=$(containers | grep -c "^$1|.*(healthy)" || true)
  others=$(containers | grep "^$1|" | grep -vc "(healthy)" || true)
  [ "$healthy" -eq "$wanted" ] && [ "$others" -eq 0 ]
}

count_workers() { containers | grep -c '^worker|running' || true; }

wait_for_workers() {
  local began=$SECONDS
  until is_healthy worker "$1"; do
    [ $((SECONDS - began)) -lt "$PATIENCE_SECONDS" ] || give_up '' "Not all workers are healthy within $PATIENCE_SECONDS s."
    sleep 1
  done
}

# give_up TOLD REASON: shows why, with the last words of what is not healthy.
give_up() {
  local service
  for service in ${SERVICES:-worker}; do
    case " $1 " in *" $service "*) continue ;; esac
    if containers | grep "^$service|" | grep -qv '(healthy)'; then
      say "--- $service: $(containers | grep "^$service|" | head -n 1 | cut -d '|' -f 3)"
      compose logs --no-log-prefix --tail $LOG_LINES "$service" 2>&1 || true
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
  printf '%s' "$key" | compose exec -T fastapi-app postroom keys add "make start" > /dev/null || fail "The API key could not be stored."
}
