"""A node that keeps what it receives, connection by connection, served by a thread."""

import socket
import threading

from lib import net
from lib.wait import wait_until


class Recorder:
    """`answer` is sent back once the connection has brought `answer_after` bytes, or, with None, when
    the other side has ended its direction. After that end the recorder closes too."""

    def __init__(self, address="127.0.0.1", answer=b"", answer_after=1):
        self.address = address
        self.port = net.free_port(address)
        self.name = "recorder"
        self.answer = answer
        self.answer_after = answer_after
        self.received = []  # one bytearray a connection, in the order of arrival
        self.ended = []     # True where the other side has ended its direction
        self.listener = socket.create_server((address, self.port), backlog=128)
        self._connections = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def endpoint(self):
        return f"{self.address}:{self.port}"

    def wait_for(self, connection, count, deadline_s=10.0):
        """The bytes of the n-th connection, once there are `count`."""
        wait_until(lambda: len(self.received) > connection and
                   len(self.received[connection]) >= count,
                   f"connection {connection} brought {count} bytes", deadline_s)
        return bytes(self.received[connection])

    def close(self):
        self.listener.close()
        for connection in self._connections:
            connection.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self.received.append(bytearray())
            self.ended.append(False)
            threading.Thread(target=self._one, args=(connection, len(self.received) - 1),
                             daemon=True).start()

    def _one(self, connection, index):
        answered = False
        try:
            while data := connection.recv(65536):
                self.received[index] += data
                if self.answer and not answered and self.answer_after is not None and \
                        len(self.received[index]) >= self.answer_after:
                    answered = True
                    connection.sendall(self.answer)
            self.ended[index] = True
            if self.answer_after is None:
                connection.sendall(self.answer)
        except OSError:
            self.ended[index] = True
        connection.close()
