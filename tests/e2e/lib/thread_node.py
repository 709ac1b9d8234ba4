"""A node whose connections are served by threads of the test: what one does is its subclass's."""

import socket
import threading


class ThreadNode:
    """`one(sock)` serves a connection and closes it. A subclass sets all that it uses there before it
    calls this class's __init__, which accepts at once."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def one(self, sock):
        raise NotImplementedError

    def close(self):
        # A thread that waits in accept() would keep the port.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()
