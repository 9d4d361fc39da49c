"""A machine that can lose its power: processes of their own, and a boot of their own, on the disk that is there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from typing_extensions import Self

from tests.services.waiting import wait_until

#: Reaps what loses its parent, as the first process of a machine has to.
INIT = """
import os, signal, subprocess, sys
subprocess.run(["mount", "--bind", sys.argv[1], "/proc/sys/kernel/random/boot_id"], check=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
open(sys.argv[2], "w").close()
while True:
    signal.sigwait({signal.SIGCHLD})
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


def can_be_had() -> bool:
    """Whether this user may have processes in a space of their own."""
    return os.getuid() == 0 and bool(shutil.which("unshare") and shutil.which("nsenter"))


class Machine:
    """Starts when entered; :meth:`reboot` kills everything on it at once, as a loss of power does.

    :param folder: a folder of its own.
    :ivar python: what a host's ``python`` is to be so that the host is this machine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boot_id, self._up, self._pid = folder / "boot_id", folder / "up", folder / "pid"
        self.python = str(folder / "python")
        self._enter = ["nsenter", "--pid", "--mount", "--target"]

    def __enter__(self) -> Self:
        self._folder.mkdir()
        words = " ".join(self._enter)
        Path(self.python).write_text(f'#!/bin/sh\nexec {words} $(cat {self._pid}) -- {sys.executable} "$@"\n')
        Path(self.python).chmod(0o700)
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def reboot(self) -> None:
        """Take the power away, and give it back: nothing runs any more, and it is another boot."""
        self._stop()
        self._start()

    def run(self, *command: str | Path) -> str:
        """Return what a command on the machine printed, with the environment of a boot: almost none."""
        words = [*self._enter, self._pid.read_text(), "--", *map(str, command)]
        return subprocess.run(words, check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}).stdout

    def _start(self) -> None:
        self._boot_id.write_text(f"{uuid.uuid4()}\n")
        self._up.unlink(missing_ok=True)
        spaces = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
        self._outer = subprocess.Popen([*spaces, sys.executable, "-c", INIT, self._boot_id, self._up])
        wait_until(self._up.exists, "the machine's start")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        self._pid.write_text(children.strip())

    def _stop(self) -> None:
        os.kill(int(self._pid.read_text()), signal.SIGKILL)
        self._outer.wait()
