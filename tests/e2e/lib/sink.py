"""A node of plain TCP, as a process of its own: `python3 sink.py NAME ADDRESS PORT [MODE]`.

Modes:
  echo    greets with "NAME\\n", so that a client knows where it landed, then echoes
  silent  accepts, and never says a word
  hold    accepts and keeps the connection, as cheaply as Python can; echoes nothing
It prints nothing per connection. It ends by SIGTERM or SIGKILL; a closed stdin means nothing.
"""

import selectors
import socket
import sys

PENDING_MAX = 1 << 20


def _listen(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(4096)
    listener.setblocking(False)
    return listener


def _echo(selector, client, pending, mask):
    """One step of one connection; bytes the client does not read yet wait in `pending`."""
    if mask & selectors.EVENT_WRITE and pending:
        sent = client.send(pending)
        del pending[:sent]
    if mask & selectors.EVENT_READ:
        data = client.recv(65536)
        if not data:
            raise ConnectionResetError
        pending += data
        sent = client.send(pending)
        del pending[:sent]
    wanted = (selectors.EVENT_WRITE if pending else 0) | (selectors.EVENT_READ if len(pending) < PENDING_MAX else 0)
    selector.modify(client, wanted, pending)


def serve(name, address, port, mode):
    listener = _listen(address, port)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    held = []
    while True:
        for key, mask in selector.select():
            if key.fileobj is listener:
                try:
                    while True:
                        client = listener.accept()[0]
                        if mode != "echo":
                            held.append(client)
                            continue
                        client.setblocking(False)
                        selector.register(client, selectors.EVENT_READ, bytearray())
                        client.send(f"{name}\n".encode())
                except (BlockingIOError, ConnectionError):
                    continue
            else:
                try:
                    _echo(selector, key.fileobj, key.data, mask)
                except BlockingIOError:
                    continue
                except OSError:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "echo")
