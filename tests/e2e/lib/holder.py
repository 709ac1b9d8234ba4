"""Holds many idle connections in a process of its own: `holder.py HOST PORT COUNT SOURCE`.

Opens COUNT connections from SOURCE, reads the greeting on each (so each reaches a node), and prints
"open COUNT". Then, for each line on stdin: "check" → "alive N" (connections that did not end),
"echo" → "echoed N" (those that carried a few bytes to the node and back). Ends with its stdin.
"""

import select
import socket
import sys

IP_BIND_ADDRESS_NO_PORT = 24


def open_one(host, port, source):
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((source, 0))
    sock.settimeout(20)
    sock.connect((host, port))
    return sock


def greeted(sock):
    data = b""
    while not data.endswith(b"\n"):
        part = sock.recv(64)
        if not part:
            raise ConnectionError("closed before the greeting")
        data += part


def open_all(host, port, count, source, at_once=256):
    """A window of connects runs ahead of the greetings, so that neither side waits for the other."""
    socks = []
    for i in range(count):
        socks.append(open_one(host, port, source))
        if i >= at_once:
            greeted(socks[i - at_once])
    for sock in socks[-at_once:] if count > at_once else socks:
        greeted(sock)
    return socks


def alive(socks):
    """An idle connection has nothing to read; one that ended has its end to read."""
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLIN | select.POLLRDHUP)
    return len(socks) - len(poll.poll(0))


def echoed(socks):
    good = 0
    for sock in socks:
        try:
            sock.sendall(b"still here\n")
        except OSError:
            continue
    for sock in socks:
        try:
            data = b""
            while len(data) < 11:
                part = sock.recv(64)
                if not part:
                    break
                data += part
            good += data == b"still here\n"
        except OSError:
            continue
    return good


def main():
    host, port, count, source = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    socks = open_all(host, port, count, source)
    print("open", len(socks), flush=True)
    for line in sys.stdin:
        if line.strip() == "check":
            print("alive", alive(socks), flush=True)
        elif line.strip() == "echo":
            print("echoed", echoed(socks), flush=True)


if __name__ == "__main__":
    main()
