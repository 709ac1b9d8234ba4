"""The other end of sd_notify: what a Type=notify service tells systemd."""

import socket
import struct
import threading

from lib.wait import wait_until


class NotifySocket:
    """`messages` holds each datagram as a dict, in the order of arrival; "pid" is who sent it."""

    def __init__(self, path):
        self.path = path
        self.messages = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(path)
        threading.Thread(target=self._serve, daemon=True).start()

    def wait_for(self, key, deadline_s=10.0, after=0, value=None):
        """The first message with this key since index `after`."""
        def find():
            return next((m for m in self.messages[after:]
                         if key in m and value in (None, m[key])), None)
        return wait_until(find, f"{key}={value or '…'} on the notify socket; so far {self.messages[-5:]}",
                          deadline_s)

    def close(self):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                text, ancillary, _, _ = self.socket.recvmsg(8192, socket.CMSG_SPACE(12))
            except OSError:
                return
            message = dict(row.split("=", 1) for row in text.decode().splitlines() if "=" in row)
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    message["pid"] = struct.unpack("3i", data)[0]
            self.messages.append(message)
