"""Carries bytes between the client and supervisord's socket, for hosts whose sshd forwards nothing."""

import base64
import socket
import threading

from .daemon import Daemon
from .wire import Outbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Relays:
    """The connections that a client has opened, by its own numbers."""

    def __init__(self, daemon: Daemon, outbox: Outbox) -> None:
        self.daemon, self.outbox = daemon, outbox
        self.sockets = {}  # type: dict[int, socket.socket]

    def write(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Pass bytes on, over a connection that the first of them opens."""
        number = int(params["sub"])
        if number not in self.sockets:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(self.daemon.access()[0])
            self.sockets[number] = connection
            threading.Thread(target=self.read, args=(number, connection), daemon=True).start()
        try:
            self.sockets[number].sendall(base64.b64decode(params.get("data") or ""))
            if params.get("eof"):
                self.sockets[number].shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has hung up, which its reader tells
        return {}

    def read(self, number: int, connection: socket.socket) -> None:
        """Tell the client what comes back, until the end."""
        while True:
            try:
                data = connection.recv(65536)
            except OSError:
                data = b""
            event = {"event": "relay", "sub": number, "data": base64.b64encode(data).decode(), "eof": not data}
            self.outbox.put(event)
            if not data:
                break
        self.sockets.pop(number, None)
        connection.close()
