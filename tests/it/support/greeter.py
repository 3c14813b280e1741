# Answers with the file `greeting` and the release; `/hold` takes a while.
import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GREETING = open("greeting").read().strip()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/hold":
            time.sleep(1)
        body = f"{GREETING} {os.environ.get('NAME', 'you')} {os.environ['SLUG_RELEASE']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False


def stop(*_):
    raise SystemExit(0)


signal.signal(signal.SIGTERM, stop)
server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("greeter is listening", flush=True)
try:
    server.serve_forever(poll_interval=0.05)
finally:
    server.server_close()
