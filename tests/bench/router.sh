#!/usr/bin/env bash
# What a request costs the router (access line and its history included) and nginx (2 workers, 128 kept connections,
# no access line), in turn, in one run. Needs nginx, wrk and cc.
. "$(dirname "$0")/lib.sh"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

app routed 'web: ./upstream'
cc -O2 -o "$BENCH/routed/upstream" tests/bench/upstream.c
"$SLUG" release -q "$("$SLUG" build -q "$BENCH/routed")" >"$BENCH/version"
slug_port="$(port)"
"$SLUG" up -q --listen "127.0.0.1:$slug_port" >/dev/null 2>"$BENCH/up.log" &
up=$!
behind="$(port)"
PORT="$behind" "$BENCH/routed/upstream" &
upstream=$!
nginx_port="$(port)"
cat >"$BENCH/nginx.conf" <<CONF
daemon off;
worker_processes 2;
pid $BENCH/nginx.pid;
error_log $BENCH/nginx.log;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path $BENCH/body;
  proxy_temp_path $BENCH/proxy;
  fastcgi_temp_path $BENCH/fastcgi;
  uwsgi_temp_path $BENCH/uwsgi;
  scgi_temp_path $BENCH/scgi;
  keepalive_requests 100000000;
  upstream app { server 127.0.0.1:$behind; keepalive 128; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:$nginx_port backlog=4096;
    location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
CONF
nginx -c "$BENCH/nginx.conf" -e "$BENCH/nginx.log" &
nginx=$!
trap '{ kill "$up" "$upstream" "$nginx" && wait; } || true; leave' EXIT
for at in "$slug_port" "$nginx_port"; do
  until curl -sf "http://127.0.0.1:$at/" >/dev/null; do kill -0 "$up" "$nginx"; sleep 0.05; done
done
python3 tests/bench/router.py "slug:$up:$slug_port" "nginx:$nginx:$nginx_port"
