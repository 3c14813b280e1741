"""A greeting from a config var, and a counter in memcached."""

import os

from flask import Flask, jsonify
from pymemcache.client.base import Client

app = Flask(__name__)


@app.get("/")
def greet():
    return f"{os.environ.get('GREETING', 'Hello')} from {os.environ.get('SLUG_RELEASE', 'no release')}\n"


@app.get("/count")
def count():
    url = os.environ.get("MEMCACHED_URL")
    if url is None:
        return "MEMCACHED_URL is not set\n", 503
    client = Client(url.removeprefix("memcached://"), connect_timeout=5, timeout=5)
    try:
        client.add("count", "0")
        return f"{client.incr('count', 1)}\n"
    finally:
        client.close()


@app.get("/env")
def env():
    return jsonify(dict(os.environ))


@app.get("/pid")
def pid():
    return f"{os.getpid()}\n"
