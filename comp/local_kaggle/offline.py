"""Cut sockets off from other machines. It is copied as ``sitecustomize.py`` for notebooks without internet."""

import errno
import os
import socket
import sys
from typing import Any

HERE = ("127.0.0.1", "::1", "localhost", "", None)
INTERNET = (socket.AF_INET, socket.AF_INET6)


def refuse(event: str, arguments: Any) -> None:
    """An audit hook: its exception is raised, and the call isn't made."""
    if event == "socket.getaddrinfo" and arguments[0] not in HERE:
        raise socket.gaierror(socket.EAI_AGAIN, "the notebook has no internet")
    if event == "socket.connect" and arguments[0].family in INTERNET and arguments[1][0] not in HERE:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


sys.addaudithook(refuse)
