"""What the standard library of Python 3.6 lacks of Linux: inotify, and a descriptor that tells of a process's end."""

import ctypes
import os
import struct

IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x2, 0x80, 0x100, 0x200
SYS_PIDFD_OPEN = 434  # the same on every architecture
HEADER = struct.Struct("iIII")

libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Tells which watched folders changed; ``fd`` is None where the system has none to give."""

    def __init__(self) -> None:
        fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(libc, "inotify_init1") else -1
        self.fd = fd if fd >= 0 else None

    def watch(self, folder: str) -> "int | None":
        """Return the number by which changes in a folder are told, None where it cannot be watched."""
        if self.fd is None:
            return None
        mask = IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE
        number = libc.inotify_add_watch(self.fd, os.fsencode(folder), mask)
        return number if number >= 0 else None

    def forget(self, number: int) -> None:
        """No longer watch a folder."""
        libc.inotify_rm_watch(self.fd, number)

    def read(self) -> "list[tuple[int, str]]":
        """Return (number of the folder, name in it) of what changed; number -1: too much changed to tell."""
        changes = []
        try:
            data = os.read(self.fd, 65536)  # type: ignore[arg-type]
        except OSError:
            return []
        while data:
            number, _, _, length = HEADER.unpack_from(data)
            name = data[HEADER.size : HEADER.size + length].rstrip(b"\0")
            changes.append((number, os.fsdecode(name)))
            data = data[HEADER.size + length :]
        return changes


def pidfd(pid: int) -> "int | None":
    """Return a descriptor that becomes readable when the process ends, None on kernels before 5.3."""
    fd = libc.syscall(SYS_PIDFD_OPEN, pid, 0)
    return fd if fd >= 0 else None
