"""Sockets that hear nothing: a filter of the kernel drops whatever arrives for them. To the other side
they are peers that vanished without a word. No privilege is needed."""

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0 bytes kept


def mute(sock):
    """From now on nothing reaches this socket: no data, no ACK, no RST."""
    program = ctypes.create_string_buffer(DROP_ALL, len(DROP_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                    struct.pack("HxxxxxxQ", 1, ctypes.addressof(program)))


def half_open(address, port, source, count):
    """Sockets whose SYN was sent and whose handshake never completes."""
    socks = []
    for _ in range(count):
        sock = socket.socket()
        mute(sock)
        sock.setblocking(False)
        sock.bind((source, 0))
        try:
            sock.connect((address, port))
        except BlockingIOError:
            pass
        socks.append(sock)
    return socks
