#!/bin/sh
# Runs as root of a network namespace of its own: a broker here, and pika in another namespace behind a virtual cable, so that the
# broker sees it come from 10.231.0.2. Arguments: the broker, its data folder, Python, the script.
set -eu
broker=$1 data=$2 python=$3 script=$4
folder=$(mktemp -d)
cleanup() {
    kill "${broker_pid:-}" "${sleeper_pid:-}" 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
unshare --net sh -c 'echo $$ > "$1/pid"; exec sleep 120' sh "$folder" &
sleeper_pid=$!
while [ ! -s "$folder/pid" ]; do sleep 0.05; done
far=$(cat "$folder/pid")
there() { nsenter --net="/proc/$far/ns/net" "$@"; }
ip link set lo up
ip link add name near0 type veth peer name far0
ip link set far0 netns "$far"
ip addr add 10.231.0.1/24 dev near0
ip link set near0 up
there ip addr add 10.231.0.2/24 dev far0
there ip link set lo up
there ip link set far0 up
"$broker" --bind 10.231.0.1 --port 0 --data "$data" > "$folder/banner" &
broker_pid=$!
until grep -q 'listening' "$folder/banner"; do
    kill -0 "$broker_pid"
    sleep 0.05
done
ctl() { "$broker" ctl -q --data "$data" "$@"; }
ctl add_user alex 123
ctl set_user_tags alex administrator
ctl set_permissions -p / alex '.*' '.*' '.*'
port=$(sed -n 's/.*listening.*10\.231\.0\.1:\([0-9]*\).*/\1/p' "$folder/banner" | head -n 1)
there env HOST=10.231.0.1 PORT="$port" "$python" "$script"
