"""tree.py FOLDER [FILES BYTES]: makes a tree as large as an app with its dependencies: 17,000 files, 300 MB, sizes as they
are in a virtual environment (many of some kilobytes, few of many megabytes), half text and half noise. Always the same bytes."""

import os
import random
import sys

FILES, BYTES = (int(number) for number in sys.argv[2:] or (17_000, 300_000_000))

root = sys.argv[1]
chance = random.Random(12)
sizes = [int(chance.lognormvariate(8.2, 1.9)) for _ in range(FILES)]
scale = BYTES / sum(sizes)
words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz_", k=chance.randint(2, 12))) for _ in range(4_000)]
text = b" ".join(chance.choices(words, k=2_000_000))
for number, size in enumerate(sizes):
    folder = os.path.join(root, f"package{number % 97}", f"module{number % 1009 % 13}")
    os.makedirs(folder, exist_ok=True)
    size = int(size * scale)
    with open(os.path.join(folder, f"file{number}.py"), "wb") as file:
        if number % 2:
            while size > 0:
                start = chance.randrange(len(text))
                size -= file.write(text[start : start + size])
        else:
            file.write(chance.randbytes(size))
