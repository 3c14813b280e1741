# Answers requests of every kind, each with its release: short ones, bodies, slow ones both ways, websockets.
import base64
import hashlib
import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = os.environ["SLUG_RELEASE"]
PIECES = 10
PAUSE = 0.1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
        elif self.path == "/slow":
            self.slow()
        else:
            self.answer(b"")

    def do_POST(self):
        self.answer(self.body())

    def answer(self, body):
        text = f"{RELEASE} {len(body)} {sum(body)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def slow(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in [b"x" * 1000] * PIECES + [f" {RELEASE}\n".encode()]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(PAUSE)
        self.wfile.write(b"0\r\n\r\n")

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            kind, length = head[0] & 15, head[1] & 127
            mask = self.rfile.read(4)
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
            if kind != 8:
                payload = RELEASE.encode() + b" " + payload
            self.wfile.write(bytes([128 | kind, len(payload)]) + payload)
            self.wfile.flush()
            if kind == 8:
                return

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def stop(*_):
    raise SystemExit(0)


signal.signal(signal.SIGTERM, stop)
server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.serve_forever(poll_interval=0.05)
