#!/usr/bin/env python3
"""Ends in the way that its last argument says: an exit code, or 256 + a signal to itself; the rest are its options.

``--after S`` waits first, as some systems tell nothing of what ends at once. What survives its signal exits with the
signal's number.
"""

import os
import signal
import sys
import time

number = int(sys.argv[-1].rpartition("_")[2])
if "--after" in sys.argv:
    time.sleep(float(sys.argv[sys.argv.index("--after") + 1]))
if number > 256:
    number -= 256
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
os._exit(number)
