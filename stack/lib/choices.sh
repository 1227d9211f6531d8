# shellcheck shell=bash
# What .env holds: secrets, written once and never changed; and the choices of the last `make start`.

SECRETS="RABBIT_ADMIN_PASSWORD RABBIT_PASSWORD RABBIT_FLOWER_PASSWORD FLOWER_PASSWORD
  MONGODB_KEY MONGODB_ADMIN_PASSWORD MONGODB_PASSWORD MONGODB_VIEWER_PASSWORD
  MONGO_EXPRESS_PASSWORD MONGO_EXPRESS_COOKIE_SECRET MONGO_EXPRESS_SESSION_SECRET
  REDIS_PASSWORD MAILPIT_PASSWORD"
SHORTEST_SECRET=16

# shellcheck disable=SC2086  # many words
unset $SECRETS STORE_URL RESULTS_URL RELAY_URL GUARD_SOCKET GUARD_GROUP COMPOSE_PROFILES COMPOSE_FILE # .env counts, not what this shell happens to have

# value NAME: what .env says, without quotes.
value() {
  [ -f .env ] || return 0
  sed -n "s/^$1=//p" .env | tail -n 1 | sed "s/^'\(.*\)'\$/\1/"
}

# remember NAME VALUE: writes it to .env, unless it is there.
remember() {
  grep -qxF -e "$1=$2" .env && return 0
  (
    umask 077
    { grep -v "^$1=" .env || true; printf '%s=%s\n' "$1" "$2"; } > .env.new
  )
  mv .env.new .env
}

# Where .env is not, containers or data of that name belong to another folder, or to an .env that was lost.
need_no_other_stack() {
  local label folder
  label=label=com.docker.compose.project=$(project)
  folder=$(docker ps --all --filter "$label" --format '{{.Label "com.docker.compose.project.working_dir"}}' | head -n 1)
  [ -n "$folder" ] || [ -n "$(docker volume ls --quiet --filter "$label")" ] || return 0
  fail "There is a stack \"$(project)\" already${folder:+, made in $folder}, and no .env here with its passwords.
To go on with it from here, put its .env here. For a second stack, name it: COMPOSE_PROJECT_NAME=$(project)-2 make start
To remove it with all its data: docker compose -p $(project) down --volumes"
}

random_secret() { head -c 1024 /dev/urandom | LC_ALL=C tr -dc 'A-Za-z0-9' | cut -c 1-40; }

# What is written here must be this person's; after one `sudo make start` it is root's.
need_own() {
  [ -w . ] || is_not_yours "$PWD"
  local path
  for path in stack .env; do
    [ ! -e "$path" ] || [ -O "$path" ] || [ "$EUID" = 0 ] || is_not_yours "$PWD/$path"
  done
}

is_not_yours() {
  fail "$1 belongs to $(ls -ld "$1" | awk '{print $3}'), and you are $(id -un 2> /dev/null || true).
Do this as that user, or take everything over: sudo chown -R $(id -u) '$PWD'"
}

# The first time, makes .env; later, adds what a newer version needs. A secret that is there is never touched.
write_secrets() {
  if [ ! -e .env ]; then
    need_no_other_stack
    (
      umask 077
      echo "# Passwords and choices of Postroom's containers. Written by \`make start\`; passwords in it are never overwritten." > .env
    )
    say "Wrote random passwords to .env (mode 600)."
  fi
  chmod 600 .env
  [ -z "$(tail -c 1 .env)" ] || echo >> .env # an editor left the last line open
  local name secret
  for name in $SECRETS; do
    grep -q "^$name=" .env || printf '%s=%s\n' "$name" "$(random_secret)" >> .env
    secret=$(value "$name")
    case $secret in
      *[!A-Za-z0-9_-]*) fail "$name in .env has characters other than letters, digits, - and _: it stands in URLs." ;;
    esac
    [ ${#secret} -ge $SHORTEST_SECRET ] ||
      fail "$name in .env is empty or shorter than $SHORTEST_SECRET characters. Delete its line, and \`make start\` writes a random one."
  done
}

# chosen NAME DEFAULT: the environment's word, else the remembered one, else the default.
chosen() {
  local said=${!1:-}
  [ -n "$said" ] || said=$(value "$1")
  echo "${said:-$2}"
}

make_choices() {
  choose_name "$(project)"
  choose_bind "$(chosen API_BIND 127.0.0.1)"
  choose_store "$(chosen STORE mongodb)"
  choose_mail
  choose_guard "$(chosen GUARD yes)"
  remember COMPOSE_PROFILES "$(profiles)"
  local name
  for name in API_PORT RABBITMQ_PORT FLOWER_PORT MONGODB_PORT MONGO_EXPRESS_PORT MAILPIT_PORT; do
    choose_port "$name" "$(chosen "$name" "$(default_port "$name")")"
  done
  remember IMAGE_TAG "$(chosen IMAGE_TAG local)"
  local workers
  workers=$(chosen WORKERS 1)
  is_number "$workers" || fail "WORKERS=$workers is not a number."
  remember WORKERS "$workers"
}

choose_name() {
  case $1 in
    [!a-z0-9]* | *[!a-z0-9_-]*)
      fail "COMPOSE_PROJECT_NAME=$1 is no name for a stack: choose lower-case letters, digits, - and _, beginning with a letter or digit."
      ;;
  esac
  remember COMPOSE_PROJECT_NAME "$1"
}

choose_bind() {
  case $1 in
    *[!0-9.]*) ;;
    *.*.*.*) remember API_BIND "$1" && return ;;
  esac
  fail "API_BIND=$1 is not an IPv4 address: choose 127.0.0.1, 0.0.0.0 or another one of this machine."
}

choose_store() {
  case $1 in
    mongodb)
      remember STORE_URL 'mongodb://postroom:${MONGODB_PASSWORD}@mongodb:27017/postroom?authSource=admin&replicaSet=rs0'
      remember RESULTS_URL 'mongodb://postroom:${MONGODB_PASSWORD}@mongodb:27017/celery?authSource=admin&replicaSet=rs0'
      ;;
    redis)
      remember STORE_URL 'redis://:${REDIS_PASSWORD}@redis:6379/0'
      remember RESULTS_URL 'redis://:${REDIS_PASSWORD}@redis:6379/1'
      ;;
    *) fail "STORE=$1 is unknown: choose mongodb or redis." ;;
  esac
  remember STORE "$1"
}

# MAIL=simulated, MAIL=mailpit, or a relay's address in POSTROOM_RELAY_URL.
choose_mail() {
  local mail
  mail=$(chosen MAIL simulated)
  [ -z "${POSTROOM_RELAY_URL:-}" ] || mail=relay
  case $mail in
    simulated) remember RELAY_URL simulated:// ;;
    mailpit) remember RELAY_URL 'smtp://mailpit:1025?tls=none' ;;
    relay)
      case ${POSTROOM_RELAY_URL:-} in
        *"'"*) fail "POSTROOM_RELAY_URL has a quote in it: write it as %27." ;;
        smtp://* | smtps://*) remember RELAY_URL "'$POSTROOM_RELAY_URL'" ;;
        ?*) fail "POSTROOM_RELAY_URL must begin with smtp:// or smtps://" ;;
        *) [ "$(value MAIL)" = relay ] || fail "MAIL=relay needs the relay's address in POSTROOM_RELAY_URL." ;;
      esac
      ;;
    *) fail "MAIL=$mail is unknown: choose simulated or mailpit, or name a relay in POSTROOM_RELAY_URL." ;;
  esac
  remember MAIL "$mail"
}

profiles() {
  local names
  names=$(value STORE)
  [ "$(value MAIL)" != mailpit ] || names=$names,mailpit
  ! is_guarded || names=$names,guard
  echo "$names"
}
