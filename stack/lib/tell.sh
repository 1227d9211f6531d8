# shellcheck shell=bash
# What is said to the person at the terminal.

say() { printf '%s\n' "$*"; }

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

is_number() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
}

count_words() { echo $#; }

tell_addresses() {
  local api key here=127.0.0.1
  api=http://$(api_host):$(value API_PORT)
  key=$(value POSTROOM_API_KEY)
  say
  say "Postroom runs as \"$(project)\": emails in $(value STORE), mail $(tell_mail), $(count_workers) worker(s)."
  ! is_guarded || say "Guards start again what \`docker kill\` ends; they hold Docker's socket. Without them: GUARD=no make start"
  say
  tell_row API "$api" "key $key"
  tell_row '' "$api/docs" "every path, member and error"
  tell_row Flower "http://$here:$(value FLOWER_PORT)" "flower / $(value FLOWER_PASSWORD)"
  tell_row RabbitMQ "http://$here:$(value RABBITMQ_PORT)" "admin / $(value RABBIT_ADMIN_PASSWORD)"
  if [ "$(value STORE)" = mongodb ]; then
    tell_row mongo-express "http://$here:$(value MONGO_EXPRESS_PORT)" "viewer / $(value MONGO_EXPRESS_PASSWORD)"
    tell_row MongoDB "$here:$(value MONGODB_PORT)" \
      "mongosh 'mongodb://viewer:$(value MONGODB_VIEWER_PASSWORD)@$here:$(value MONGODB_PORT)/postroom?authSource=admin&directConnection=true'"
  fi
  [ "$(value MAIL)" != mailpit ] || tell_row Mailpit "http://$here:$(value MAILPIT_PORT)" "viewer / $(value MAILPIT_PASSWORD)"
  say
  say "Send a first email:"
  say
  say "  curl -s $api/emails -H 'Authorization: Bearer $key' -H 'Content-Type: application/json' \\"
  say "    -d '{\"from\": \"Ann <ann@example.com>\", \"to\": \"bob@example.com\", \"subject\": \"Hello\", \"text\": \"First email\"}'"
  say
  say "and follow it, with the id from the answer:"
  say
  say "  curl -s $api/emails/ID -H 'Authorization: Bearer $key'"
}

# Where this machine itself reaches the API.
api_host() {
  case $(value API_BIND) in
    0.0.0.0 | '') echo 127.0.0.1 ;;
    *) value API_BIND ;;
  esac
}

tell_row() { printf '  %-14s %-30s %s\n' "$@"; }

tell_mail() {
  case $(value MAIL) in
    simulated) echo "simulated, 1 to 4 s an email" ;;
    mailpit) echo "to Mailpit" ;;
    relay) echo "to $(value RELAY_URL | sed -e 's|//.*@|//…@|')" ;;
  esac
}
