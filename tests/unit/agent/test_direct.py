"""What runs without a runner: event listeners and FastCGI programs, their secrets out of the config all the same."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.services.host import Host

LISTENER = """
import os, sys
with open(sys.argv[1], "a") as book:
    print("secret", os.environ["SECRET"], file=book, flush=True)
    while True:
        print("READY", flush=True)
        header = dict(word.split(":") for word in sys.stdin.readline().split())
        payload = sys.stdin.read(int(header["len"]))
        print(header["eventname"], payload, file=book, flush=True)
        sys.stdout.write("RESULT 2\\nOK")
        sys.stdout.flush()
"""
FASTCGI = (
    "import os, socket, time; assert socket.socket(fileno=0).getsockname(); print('ready', flush=True); time.sleep(600)"
)


async def test_an_event_listener_hears_supervisord(root: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    async with Host(root) as host:
        await host.install(
            programs={"p": {"command": "sleep 600"}},
            event_listeners={
                "ears": {
                    "command": [sys.executable, "-c", LISTENER, str(book)],
                    "events": ["PROCESS_STATE"],
                    "environment": {"SECRET": "s3cret"},
                }
            },
        )
        started = await host.start()
        assert started["ears"]["action"] == "started"
        await host.wait(lambda s: book.exists() and "PROCESS_STATE_RUNNING" in book.read_text())
        assert (await host.status())["ears"]["phase"] == "running"
        assert "secret s3cret" in book.read_text()
        assert "s3cret" not in (root / "programs.conf").read_text()
        stopped = await host.stop()
        assert {one["state"] for one in stopped.values()} == {"STOPPED"}


async def test_a_fastcgi_program_gets_its_socket(root: Path) -> None:
    async with Host(root) as host:
        await host.install(
            fcgi_programs={
                "web": {"command": [sys.executable, "-c", FASTCGI], "socket": f"unix://{root}/web.sock", "numprocs": 2}
            }
        )
        await host.start()
        await host.wait(lambda s: all((root / f"jobs/job/{name}/stdout.log").read_text() == "ready\n" for name in s))
        status = await host.status()
        assert [one["phase"] for one in status.values()] == ["running", "running"]
        assert {one["state"] for one in (await host.stop()).values()} == {"STOPPED"}
