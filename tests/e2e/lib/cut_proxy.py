"""A way to a PostgreSQL server that can be cut at the worst moments: in front of a transaction, or
behind its COMMIT, before the answer (a writer sends all of one at once)."""

import random
import select
import socket
import threading

from lib import net


class CutProxy:
    def __init__(self, port, mark=b"<body>"):
        self.target = port
        self.mark = mark  # stands in the values of what is written
        self.port = net.free_port()
        self.cuts = 0
        self.armed = None  # a random.Random: connections are cut at some of the next transactions
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._stopping = False
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, seed):
        self.armed = random.Random(seed)

    def disarm(self):
        self.armed = None

    def close(self):
        self._stopping = True
        self._listener.close()

    def _accept(self):
        while not self._stopping:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client, server):
        try:
            while not self._stopping:
                for ready in select.select([client, server], [], [], 1)[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    if ready is server:
                        client.sendall(data)
                        continue
                    armed = self.armed
                    if armed is None or self.mark not in data or armed.random() > 0.1:
                        server.sendall(data)
                        continue
                    self.cuts += 1
                    if armed.random() < 0.5:
                        server.sendall(data)  # it happens, and its answer is lost
                    return
        except OSError:
            pass
        finally:
            client.close()
            server.close()
