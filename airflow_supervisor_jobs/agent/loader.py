"""Receive the agent once per version, keep it by its hash, and run it in this process.

Sent as source in the first line of the agent's standard input; see docs/reference/protocol.md.
"""

import hashlib
import json
import os
import sys

MARK = "airflow-supervisor-jobs-loader "


def machine_id() -> str:
    """Return what tells this machine from others that mount the same home."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path) as file:
                text = file.read().strip()
        except OSError:
            continue
        if text:
            return text
    return os.uname().nodename


def claim_root(root: str) -> str:
    """Return the root to use, made and marked as this machine's; a shared home's other roots stay untouched."""
    root = os.path.abspath(os.path.expanduser(root))
    mine = machine_id()
    for candidate in (root, "%s@%s" % (root, mine[:12])):
        os.makedirs(candidate, mode=0o700, exist_ok=True)
        if os.stat(candidate).st_uid != os.getuid():
            raise OSError("%s belongs to another user; give this host a `root` of its own" % candidate)
        os.chmod(candidate, 0o700)
        mark = os.path.join(candidate, "machine.json")
        try:
            with open(mark) as file:
                owner = json.load(file)["machine_id"]
        except (OSError, ValueError, KeyError):
            write(mark, json.dumps({"format": 1, "machine_id": mine}).encode())
            owner = mine
        if owner == mine:
            return candidate
    raise OSError("%s was written by another machine, and so was its own folder beside it" % root)


def write(path: str, data: bytes) -> None:
    """Put ``data`` at ``path`` whole or not at all."""
    part = "%s.%d" % (path, os.getpid())
    with open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path)


def tell(answer: object) -> None:
    """Send one line to the client."""
    sys.stdout.buffer.write((MARK + json.dumps(answer) + "\n").encode())
    sys.stdout.buffer.flush()


def load() -> None:
    """Hold the loader's conversation and run the agent until it ends."""
    wanted = json.loads(sys.stdin.buffer.readline().decode())
    os.umask(0o077)
    try:
        root = claim_root(wanted["root"])
        os.makedirs(os.path.join(root, "agent"), mode=0o700, exist_ok=True)
        path = os.path.join(root, "agent", wanted["sha256"] + ".pyz")
        if not has(path, wanted["sha256"]):
            tell({"have": False})
            data = sys.stdin.buffer.read(wanted["size"])
            if hashlib.sha256(data).hexdigest() != wanted["sha256"]:
                raise OSError("the agent arrived damaged")
            write(path, data)
        else:
            tell({"have": True})
    except OSError as error:
        tell({"error": str(error)})
        return
    os.utime(path)
    sys.path.insert(0, path)
    from agent.main import main

    main(root, wanted["sha256"])


def has(path: str, sha256: str) -> bool:
    """Tell whether the file is there and whole."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == sha256
    except OSError:
        return False


if __name__ == "__main__":
    load()
