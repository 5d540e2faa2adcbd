"""Ports of loopback for programs that are started next."""

import random
import socket


def free_port():
    """A port that nobody listens at. The kernel gives nobody a port of this range, so that none is taken in between."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as listener:
            # A port is free although connections to an earlier listener are still being closed.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
