"""PROXY protocol in and out, well-formed, garbage, slow and split: the right address reaches the log
and the node, and nothing of a header ever reaches the node as payload."""

import socket
import struct
import time
import unittest

from lib import net, proxy_header
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.recorder import Recorder
from lib.wait import wait_until


def connect(port, source="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


def closed_by_peer(sock, deadline_s=5.0):
    """The other side ended the connection, with FIN or RST; what came before that."""
    sock.settimeout(deadline_s)
    received = b""
    try:
        while data := sock.recv(4096):
            received += data
    except ConnectionError:
        pass
    return received


class ProxyProtocol(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node = Recorder(answer=b"answer")
        cls.addClassCleanup(cls.node.close)
        ports = cls.in_port, cls.trusted_port, cls.v1_port, cls.v2_port = [
            net.free_port() for _ in range(4)]
        assert len(set(ports)) == 4
        node = [{"name": "n1", "address": cls.node.endpoint}]
        cls.balancer = Balancer(cls.workspace, {
            "listener": {
                "in": {"bind": f"127.0.0.1:{cls.in_port}", "pool": "plain", "accept_proxy": True,
                       "proxy_header_timeout": "1s"},
                "trusted": {"bind": f"127.0.0.1:{cls.trusted_port}", "pool": "plain",
                            "accept_proxy": True, "proxy_trusted": ["127.0.0.9/32"]},
                "out1": {"bind": f"127.0.0.1:{cls.v1_port}", "pool": "v1"},
                "out2": {"bind": f"127.0.0.1:{cls.v2_port}", "pool": "v2"},
            },
            "pool": {"plain": {"node": node},
                     "v1": {"node": node, "send_proxy": "v1"},
                     "v2": {"node": node, "send_proxy": "v2",
                            "send_proxy_tlvs": ["unique_id", "crc32c"]}},
        }).start()

    def setUp(self):
        self.before = len(self.node.received)

    def payload(self, count):
        return self.node.wait_for(self.before, count)

    def logged_client(self, address):
        return self.balancer.access_log.wait_for(1, client=address)[-1]

    def assert_served(self, header, client):
        """Header and payload in one segment: the node sees the payload only."""
        with connect(self.in_port) as sock:
            sock.sendall(header + b"payload")
            self.assertEqual(self.payload(7), b"payload")
            self.assertEqual(sock.recv(6), b"answer")
        self.assertEqual(self.logged_client(client)["listener"], "in")

    def test_v1_names_the_client(self):
        self.assert_served(proxy_header.v1("192.0.2.7", 40007), "192.0.2.7:40007")

    def test_v1_of_ipv6_names_the_client(self):
        self.assert_served(proxy_header.v1("2001:db8::7", 40008, "2001:db8::1"),
                           "[2001:db8::7]:40008")

    def test_v2_names_the_client_and_skips_tlvs(self):
        tlvs = proxy_header.tlv(0x01, b"xmpp-client") + proxy_header.tlv(0xE0, b"x" * 300)
        self.assert_served(proxy_header.v2("192.0.2.9", 40009, tlvs=tlvs), "192.0.2.9:40009")

    def test_v2_local_is_served_under_its_own_address(self):
        with connect(self.in_port) as sock:
            own = sock.getsockname()
            sock.sendall(proxy_header.local() + b"payload")
            self.assertEqual(self.payload(7), b"payload")
        self.logged_client(f"{own[0]}:{own[1]}")

    def test_a_header_split_into_single_bytes_is_read(self):
        header = proxy_header.v2("192.0.2.11", 40011)
        with connect(self.in_port) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header + b"payload":
                sock.sendall(bytes([byte]))
            self.assertEqual(self.payload(7), b"payload")
        self.logged_client("192.0.2.11:40011")

    def test_garbage_instead_of_a_header_is_closed_and_never_reaches_the_node(self):
        overrun = proxy_header.v2("192.0.2.12", 40012, tlvs=proxy_header.tlv(0x01, b"abc", 400))
        wrong = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"<?xml version='1.0'?><stream:stream to='chat.example'>",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
            b"PROXY TCP4 999.1.1.1 127.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 127.0.0.1 1 99999\r\n",
            b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2 " + b"x" * 200,
            b"PROXY SCTP 192.0.2.1 127.0.0.1 1 2\r\n",
            proxy_header.SIGNATURE + b"\x11\x11\x00\x0c" + b"\x00" * 12,   # version 1
            proxy_header.SIGNATURE + b"\x2f\x11\x00\x0c" + b"\x00" * 12,   # command 15
            proxy_header.SIGNATURE + b"\x21\x11\x00\x04" + b"\x00" * 4,    # too short for IPv4
            overrun,
            bytes(range(256)),
            b"\x00",
        ]
        for garbage in wrong:
            with self.subTest(garbage=garbage[:40]), connect(self.in_port) as sock:
                sock.sendall(garbage)
                self.assertEqual(closed_by_peer(sock), b"")
        self.assertEqual(len(self.node.received), self.before, "no connection to the node was made")
        self.assert_served(proxy_header.v1("192.0.2.13", 40013), "192.0.2.13:40013")
        ends = {entry["end"] for entry in self.balancer.access_log.lines(listener="in", node="")}
        self.assertLessEqual({"proxy_header_bad"}, ends)
        self.assertGreaterEqual(self.balancer.metric("mongooselb_listener_refused_total",
                                                     listener="in", limit="header"), len(wrong))

    def test_a_header_that_does_not_come_in_time_is_closed(self):
        for sent in (b"", b"PROXY TCP4 192", proxy_header.SIGNATURE):
            with self.subTest(sent=sent), connect(self.in_port) as sock:
                began = time.monotonic()
                sock.sendall(sent)
                self.assertEqual(closed_by_peer(sock), b"")
                took = time.monotonic() - began
                self.assertGreater(took, 0.8)
                self.assertLess(took, 3.0)
        self.assertEqual(len(self.node.received), self.before)

    def test_a_drip_of_header_bytes_does_not_extend_the_time_limit(self):
        """Slowloris: each byte comes in time, the header never does."""
        socks = [connect(self.in_port) for _ in range(50)]
        began = time.monotonic()
        header = proxy_header.v1("192.0.2.14", 40014)[:-2]
        position = 0
        alive = list(socks)

        def drip():
            nonlocal position
            for sock in list(alive):
                try:
                    sock.sendall(header[position % len(header):][:1])
                    sock.settimeout(0.001)
                    if sock.recv(1) == b"":
                        alive.remove(sock)
                except TimeoutError:
                    pass
                except OSError:
                    alive.remove(sock)
            position += 1
            return not alive
        wait_until(drip, "all slow connections are closed", 10, pause_s=0.1)
        self.assertLess(time.monotonic() - began, 4.0)
        for sock in socks:
            sock.close()
        self.assertEqual(len(self.node.received), self.before)

    def test_a_header_from_an_untrusted_address_is_refused(self):
        with connect(self.trusted_port) as sock:
            sock.sendall(proxy_header.v1("192.0.2.15", 40015) + b"payload")
            self.assertEqual(closed_by_peer(sock), b"")
        self.assertEqual(len(self.node.received), self.before)
        with connect(self.trusted_port, source="127.0.0.9") as sock:
            sock.sendall(proxy_header.v1("192.0.2.16", 40016) + b"payload")
            self.assertEqual(self.payload(7), b"payload")
        self.logged_client("192.0.2.16:40016")

    def test_v1_out_comes_before_the_payload(self):
        with connect(self.v1_port) as sock:
            own = sock.getsockname()
            sock.sendall(b"payload")
            expected = proxy_header.v1("127.0.0.1", own[1], "127.0.0.1", self.v1_port) + b"payload"
            self.assertEqual(self.payload(len(expected)), expected)

    def test_v2_out_carries_the_addresses_a_unique_id_and_a_correct_checksum(self):
        ids = set()
        for number in range(3):
            self.before = len(self.node.received)
            with connect(self.v2_port) as sock:
                own = sock.getsockname()
                sock.sendall(b"payload")
                head = self.payload(16)
                length = struct.unpack("!H", head[14:16])[0]
                got = self.payload(16 + length + 7)
            header, payload = got[:16 + length], got[16 + length:]
            self.assertEqual(payload, b"payload")
            plain = proxy_header.v2("127.0.0.1", own[1], "127.0.0.1", self.v2_port)
            self.assertEqual(header[:14], plain[:14])
            self.assertEqual(header[16:28], plain[16:28])
            tlvs, rest = {}, header[28:]
            while rest:
                kind, size = rest[0], struct.unpack("!H", rest[1:3])[0]
                tlvs[kind], rest = rest[3:3 + size], rest[3 + size:]
            self.assertTrue(0 < len(tlvs[0x05]) <= 128, tlvs)  # PP2_TYPE_UNIQUE_ID
            ids.add(tlvs[0x05])
            position = header.index(b"\x03\x00\x04" + tlvs[0x03]) + 3  # PP2_TYPE_CRC32C
            zeroed = header[:position] + b"\x00" * 4 + header[position + 4:]
            self.assertEqual(struct.unpack("!I", tlvs[0x03])[0], proxy_header.crc32c(zeroed))
            self.assertEqual(len(ids), number + 1, "no id twice")


if __name__ == "__main__":
    unittest.main()
