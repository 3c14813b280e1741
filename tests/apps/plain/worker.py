"""Says that it works, then waits for the end."""

import os
import signal

ENDINGS = {signal.SIGTERM, signal.SIGINT}
# Blocked, so that they are waited for instead of ending it.
signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
print(f"worker {os.environ.get('DYNO', '')} of {os.environ.get('SLUG_RELEASE', '')} is working", flush=True)
signal.sigwait(ENDINGS)
print("worker has stopped", flush=True)
