"""Ticks."""

import itertools
import time

for tick in itertools.count(1):
    print(f"tick {tick}", flush=True)
    time.sleep(1)
