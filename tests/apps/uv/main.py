"""FastAPI by a lock file of uv. The lock is made by the test: it would name the index of whoever wrote it."""

import os

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def greet():
    return {"greeting": os.environ.get("GREETING", "Hello"), "release": os.environ.get("SLUG_RELEASE")}


@app.get("/pid")
def pid():
    return os.getpid()
