"""Runs a command and writes its wall seconds, CPU seconds and peak resident bytes to a file.

``python -S measure.py FILE COMMAND...``. A small process of its own: what is started from a large
one counts as large from the start (Linux keeps the peak over exec).
"""

import resource
import subprocess
import sys
import time

started = time.monotonic()
code = subprocess.call(sys.argv[2:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as stream:
    figures = (
        time.monotonic() - started,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
    )
    print(*figures, file=stream)
sys.exit(code)
