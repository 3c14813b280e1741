"""One worker that holds as many requests open as it is asked to."""

import os
import threading

everyone_is_here = threading.Event()
held = 0


def app(environ, start_response):
    answer = hold(environ) if environ["PATH_INFO"] == "/hold" else f"pid {os.getpid()}\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer.encode()]


def hold(environ):
    """Answers when as many requests as the query says are open at once, and says in which process."""
    global held
    held += 1
    if held >= int(environ["QUERY_STRING"]):
        everyone_is_here.set()
    together = everyone_is_here.wait(timeout=60)
    return f"{'together' if together else 'alone'} in {os.getpid()}\n"
