"""Python's sockets cut off from every other machine.

To be copied, not imported: it is the ``sitecustomize.py`` of notebooks without internet.
"""

import errno
import os
import socket
from typing import Any

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _is_far(connection: socket.socket, address: Any) -> bool:
    return connection.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK


def connect(self: socket.socket, address: Any) -> None:
    if _is_far(self, address):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
    _connect(self, address)


def connect_ex(self: socket.socket, address: Any) -> int:
    return errno.ENETUNREACH if _is_far(self, address) else _connect_ex(self, address)


def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
    if host not in (*LOOPBACK, None, ""):
        raise socket.gaierror(socket.EAI_AGAIN, "the notebook has no internet")
    return _getaddrinfo(host, *arguments, **named)


socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign, assignment]
socket.getaddrinfo = getaddrinfo
