"""A node's status API (GET /api/cluster/status), well-behaved or not, served by a thread."""

import json
import socket
import threading

from lib import net


def common_free_port(addresses):
    """One port that is free on all these addresses: a pool names one port for all its nodes."""
    for _ in range(50):
        port = net.free_port(addresses[0])
        probes = []
        try:
            for address in addresses[1:]:
                probe = socket.socket()
                probes.append(probe)
                probe.bind((address, port))
            return port
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise RuntimeError(f"no port is free on all of {addresses}")


def healthy(node, members, running=None, state="running", incarnation=1, sessions=0):
    running = list(members) if running is None else running
    return {"node": node, "incarnation": incarnation, "state": state, "members": list(members),
            "running": running, "stopped": [m for m in members if m not in running],
            "sessions": sessions, "max_sessions": 100000, "load": 0.1}


def _answer(body, status="200 OK"):
    return (f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode() + body


class StatusApi:
    """`say(...)` changes what it answers from now on; `requests` counts."""

    def __init__(self, address, port):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(64)
        self.requests = 0
        self.bytes_sent = 0
        self._answer = b""
        self._silent = False
        self._closed = False
        self._kept = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    # --- what it answers ---

    def say_status(self, status):
        self._set(_answer(json.dumps(status).encode()))

    def say_body(self, body, status="200 OK"):
        """A well-formed answer around any bytes."""
        self._set(_answer(body, status))

    def say_raw(self, raw):
        """Bytes that need not be HTTP."""
        self._set(raw)

    def say_nothing(self):
        """Accepts, reads the request, and never answers."""
        self._set(b"", silent=True)

    def _set(self, raw, silent=False):
        self._answer, self._silent = raw, silent

    def close(self):
        self._closed = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(5)
        for connection in self._kept:
            connection.close()

    def _serve(self):
        while not self._closed:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        try:
            connection.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                data = connection.recv(4096)
                if not data:
                    connection.close()
                    return
                request += data
            self.requests += 1
            if self._silent:
                self._kept.append(connection)
                return
            answer = memoryview(self._answer)
            while answer:
                sent = connection.send(answer[:65536])
                self.bytes_sent += sent
                answer = answer[sent:]
            connection.close()
        except OSError:
            connection.close()
