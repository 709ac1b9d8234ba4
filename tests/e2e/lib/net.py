"""Ports and addresses of loopback."""

import errno
import random
import socket


# Below the kernel's own choices (ip_local_port_range): outgoing connections, and the tens of
# thousands that a test leaves in TIME_WAIT, never hold one of these.
PORTS = range(12_000, 32_000)
given = set()  # to this process: who got one has not bound it yet


def free_port(address="127.0.0.1", *kinds):
    """A port that nobody holds on this address, for TCP or for all of the given kinds."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        port = random.choice(PORTS)
        if port in given:
            continue
        try:
            for kind in kinds or (socket.SOCK_STREAM,):
                with socket.socket(family, kind) as probe:
                    probe.bind((address, port))
            given.add(port)
            return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def accepts(address, port, timeout_s=0.5):
    """Somebody listens there. Connects, so do not ask a node whose arrivals are counted."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return True
    except OSError:
        return False
