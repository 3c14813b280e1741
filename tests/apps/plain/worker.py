"""Says that it works, then waits for the end."""

import os
import signal

print(f"worker {os.environ.get('DYNO', '')} of {os.environ.get('SLUG_RELEASE', '')} is working", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
print("worker has stopped", flush=True)
