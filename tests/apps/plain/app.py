"""A web process of the standard library alone."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answers = {
            "/": lambda: f"plain {os.environ.get('SLUG_RELEASE', '')}\n",
            "/env": lambda: json.dumps(dict(os.environ), sort_keys=True),
            "/pid": lambda: f"{os.getpid()}\n",
        }
        answer = answers.get(self.path)
        body = (answer() if answer else "not found\n").encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    # A stop waits for the requests that are being answered.
    daemon_threads = False
    block_on_close = True


def main():
    server = Server(("0.0.0.0", int(os.environ["PORT"])), Handler)

    def stop(*_):
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    print(f"listening on {server.server_port}", flush=True)
    try:
        server.serve_forever(poll_interval=0.05)
    finally:
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
