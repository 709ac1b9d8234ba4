"""A zone of many names: while it is built anew or transferred, mongoosedns goes on answering, checking
and obeying. Each waits for conditions, never for time."""

import json
import re
import socket
import struct
import threading
import unittest

import dns.message

import dns_lib as lib

NAME = "xmpp.example.org"
NAMES = 300_000


class Ctl:
    """One connection to the control socket."""

    def __init__(self, server):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(server.ctl_socket)
        self.reader = self.socket.makefile("rb")

    def __call__(self, command, **arguments):
        self.socket.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
        reply = json.loads(self.reader.readline())
        if not reply["ok"]:
            raise AssertionError(reply)
        return reply

    def close(self):
        self.reader.close()
        self.socket.close()


class Large(unittest.TestCase):
    def setUp(self):
        self.text = lib.ZONE_TEXT + "".join(
            f"h{i} IN A 10.{i >> 16}.{i >> 8 & 255}.{i & 255}\n" for i in range(NAMES))
        self.server = lib.Server(
            lib.BASE + lib.pool([("lb1", "198.51.100.1", 1), ("lb2", "198.51.100.2", 1)]) +
            lib.ZONE.replace("file =", 'transfer_allow = ["127.0.0.0/8"]\nfile ='),
            {"example.org.zone": self.text})
        self.addCleanup(self.server.stop)
        self.ctl = Ctl(self.server)
        self.addCleanup(self.ctl.close)

    def records(self, peer):
        """Of the transfer's next message."""
        return struct.unpack(">H", lib.tcp_message(peer)[6:8])[0]

    def change(self):
        """A health change, a challenge and a question: all done when this returns."""
        self.ctl("down", balancer="lb1")
        self.assertEqual(self.server.addresses(NAME), ["198.51.100.2"])
        self.ctl("auto", balancer="lb1")
        lib.wait_for(lambda: len(self.server.addresses(NAME)) == 2, "both are given out")
        self.ctl("acme set", name="example.org", token="token")
        self.assertEqual(len(self.server.query("_acme-challenge.example.org", "TXT").answer), 1)
        self.ctl("acme clear")

    def test_orders_and_questions_are_not_held_by_a_rebuild(self):
        self.server.write("example.org.zone", self.text + "edited IN A 192.0.2.200\n")
        built = threading.Event()

        def reload():
            self.server.reload()
            built.set()

        thread = threading.Thread(target=reload)
        thread.start()
        during = 0
        while not built.is_set():
            self.change()
            during += not built.is_set()
        thread.join()
        self.assertGreaterEqual(during, 2, "changes that were done while the zone was built")
        self.assertEqual(self.server.addresses("edited.example.org"), ["192.0.2.200"])

    def test_nobody_is_held_by_a_transfer_that_is_read_slowly(self):
        query = dns.message.make_query("example.org", "AXFR").to_wire()
        peer = lib.tcp_connect(self.server.port)
        self.addCleanup(peer.close)
        peer.sendall(struct.pack(">H", len(query)) + query)
        records = self.records(peer)  # it has begun
        for _ in range(3):
            self.change()
        # Memory of a transfer is what stands in its buffers, not the zone.
        with open(f"/proc/{self.server.process.pid}/status", encoding="utf-8") as file:
            before = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])
        while records < NAMES:
            records += self.records(peer)
        with open(f"/proc/{self.server.process.pid}/status", encoding="utf-8") as file:
            after = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])
        self.assertLess(after - before, 16 * 1024)  # KiB
        self.change()


if __name__ == "__main__":
    unittest.main()
