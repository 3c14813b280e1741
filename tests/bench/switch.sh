#!/usr/bin/env bash
# Release and rollback under a supervisor that is up, until the new release answers and the old one is stopped,
# against the app's own start: from exec to its first answer (goal: start + 50 ms).
. "$(dirname "$0")/lib.sh"
for name in one two; do
  app "$name" 'web: /usr/bin/python3 serve'
  cp tests/it/support/greeter.py "$BENCH/$name/serve"
  echo "$name" >"$BENCH/$name/greeting"
done
one="$("$SLUG" build -q "$BENCH/one")"
two="$("$SLUG" build -q "$BENCH/two")"
export one two
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.2", 0)); print(s.getsockname()[1])')"
"$SLUG" release -q "$one" >"$BENCH/version"
"$SLUG" up -q --listen "127.0.0.2:$port" >"$BENCH/up.log" 2>&1 &
up=$!
trap '{ kill "$up" && wait "$up"; } || true; leave' EXIT
until curl -sf "http://127.0.0.2:$port/" >/dev/null; do kill -0 "$up"; sleep 0.05; done

cat >"$BENCH/start.py" <<'PY'
import os, socket, subprocess, sys, time
port = 20000 + os.getpid() % 10000
env = {"PORT": str(port), "SLUG_RELEASE": "v0", "PATH": "/usr/bin:/bin"}
app = subprocess.Popen(["/usr/bin/python3", "serve"], cwd=sys.argv[1], env=env, stdout=subprocess.DEVNULL)
while True:
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert connection.recv(1000)
            break
    except ConnectionRefusedError:
        time.sleep(0.001)
app.kill()
app.wait()
PY
measure "${ROUNDS:-10}" "release" '"$SLUG" release -q "$two"' "rollback" '"$SLUG" rollback -q' \
  "the app's own start" 'python3 "$BENCH/start.py" "$BENCH/one"' "an empty start.py" 'python3 -c "import os, socket, subprocess, sys, time"'
