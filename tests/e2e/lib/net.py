"""Ports and addresses of loopback."""

import socket


def free_port(address="127.0.0.1", kind=socket.SOCK_STREAM):
    """A port that nobody holds on this address: the kernel's choice."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def accepts(address, port, timeout_s=0.5):
    """Somebody listens there. Connects, so do not ask a node whose arrivals are counted."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return True
    except OSError:
        return False
