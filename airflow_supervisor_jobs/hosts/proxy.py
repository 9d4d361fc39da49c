"""A command whose standard streams lead to a host's sshd: started here once, the same way for both SSH libraries."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import tempfile

from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.channel import last_lines


class Proxy:
    """A running proxy command; ``sock`` is its other end.

    :param command: words as a shell splits them; no shell is involved.
    :raises HostRefused: it cannot be executed.
    """

    def __init__(self, command: str, *, host: str) -> None:
        self.sock, theirs = socket.socketpair()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by close()
        try:
            self._process = subprocess.Popen(
                shlex.split(command),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._stderr,
                env={name: value for name, value in os.environ.items() if "AIRFLOW_" not in name},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self.sock.close()
            self._stderr.close()
            raise HostRefused(
                f"its proxy_command {command!r} cannot be run: {error}. Correct it.", host=host
            ) from error
        finally:
            theirs.close()

    @property
    def said(self) -> str:
        """The last of what it wrote to its standard error."""
        if self._stderr.closed:
            return ""
        return last_lines(os.pread(self._stderr.fileno(), 8192, max(0, os.fstat(self._stderr.fileno()).st_size - 8192)))

    def close(self) -> None:
        """End it; safe to call twice."""
        self.sock.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._stderr.close()
