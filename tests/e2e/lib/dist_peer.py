"""The distribution's handshake and frames in a few lines of Python, for peers that misbehave."""

import hashlib
import socket
import struct

MANDATORY = 0x4 | 0x10 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x20000 | 0x40000 | 0x1000000
FLAGS = MANDATORY | 0x4000000 | 0x8 | 0x20 | 0x4000 | 0x400000 | 0x2000000 | 1 << 32 | 1 << 34


class DistPeer:
    """One connection to a node. A closed connection shows as b"" or as an error of the socket."""

    def __init__(self, port, name, cookie="C", address="127.0.0.1"):
        self.name = name
        self.cookie = cookie
        self.socket = socket.create_connection((address, port), timeout=10)

    def close(self):
        self.socket.close()

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                return b""
            data += part
        return data

    def send_message(self, message):
        self.socket.sendall(struct.pack(">H", len(message)) + message)

    def read_message(self):
        head = self.read(2)
        return self.read(struct.unpack(">H", head)[0]) if head else b""

    def send_name(self, flags=FLAGS):
        name = self.name.encode()
        self.send_message(struct.pack(">cQIH", b"N", flags, 1, len(name)) + name)
        return self.read_message()

    def digest(self, challenge):
        return hashlib.md5(f"{self.cookie}{challenge}".encode()).digest()

    def shake(self):
        """The whole handshake as the dialer. The status, or what was closed upon."""
        status = self.send_name()
        if status == b"salive":
            self.send_message(b"strue")
        elif status not in (b"sok", b"sok_simultaneous"):
            return status
        challenge = self.read_message()
        if not challenge:
            return b""
        (number,) = struct.unpack(">I", challenge[9:13])
        self.send_message(b"r" + struct.pack(">I", 7) + self.digest(number))
        ack = self.read_message()
        if ack != b"a" + self.digest(7):
            return b""
        return status

    def send_frame(self, body):
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def closed(self, deadline_s=10.0):
        """Whether the node ends the connection, whatever it says before."""
        self.socket.settimeout(deadline_s)
        try:
            while self.socket.recv(4096):
                pass
            return True
        except socket.timeout:
            return False
        except OSError:
            return True


def atom(text):
    return b"\x77" + bytes([len(text)]) + text.encode()


def pid(node):
    return b"\x58" + atom(node) + struct.pack(">III", 1, 0, 1)


def reg_send(node, to, payload):
    """A frame's body; the payload is a term with its version byte."""
    return b"\x70\x83\x68\x04\x61\x06" + pid(node) + atom("") + atom(to) + payload
