"""What has broken other balancers, against the running program: hellos that repeat or stop, sessions
and plaintext where they must not be, revoked certificates, reloads and upgrades under long sessions."""

import os
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import FreshCase
from lib.certs import Authority
from lib.node import SinkNode, node_tables
from lib.recorder import Recorder
from lib.thread_node import ThreadNode
from lib.wait import wait_until
from test_tls import DOMAIN, OPENING, certificates, client_context, connect, read_all, read_until


def hello_without_key_share(name=DOMAIN):
    """A TLS 1.3 ClientHello that offers groups and no key for any: the server has to ask again."""
    host = name.encode()
    extensions = [
        (0x0000, struct.pack("!HBH", len(host) + 3, 0, len(host)) + host),
        (0x000a, struct.pack("!H", 4) + b"\x00\x1d\x00\x17"),          # X25519, P-256
        (0x000d, struct.pack("!H", 4) + b"\x04\x03\x08\x04"),          # ECDSA P-256, RSA-PSS
        (0x002b, b"\x02\x03\x04"),                                     # TLS 1.3
        (0x0033, b"\x00\x00"),                                         # no key share
    ]
    packed = b"".join(struct.pack("!HH", kind, len(body)) + body for kind, body in extensions)
    body = (b"\x03\x03" + os.urandom(32) + b"\x20" + os.urandom(32) + b"\x00\x02\x13\x01" +
            b"\x01\x00" + struct.pack("!H", len(packed)) + packed)
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_shares(pids, seconds=2.0):
    """The part of a processor that each of these processes used in that time; nobody talks to them
    meanwhile."""
    before = [cpu_seconds(pid) for pid in pids]
    start = time.monotonic()
    wait_until(lambda: time.monotonic() > start + seconds, "idle seconds pass", seconds + 60,
               pause_s=0.5)
    took = time.monotonic() - start
    return [(cpu_seconds(pid) - was) / took for pid, was in zip(pids, before)]


def ended(sock):
    """Whether the other side has ended this TLS connection; what else it said is thrown away."""
    sock.settimeout(0.05)
    try:
        return sock.recv(4096) == b""
    except (TimeoutError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


class TlsNode(ThreadNode):
    """A node that ends TLS: greets with its name, and keeps what each handshake brought. `first` is
    sent in plaintext before TLS; with `starttls` it follows <proceed/>."""

    def __init__(self, certificate, first=b"", starttls=False):
        self.name = "tlsnode"
        self.first = first
        self.starttls = starttls
        self.handshakes = []  # (name asked for, resumed)
        self.failed = 0       # connections whose handshake did not end well
        self.words = []       # what came after each handshake
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self._asked = threading.local()
        self.context.sni_callback = self._on_name
        super().__init__()

    def _on_name(self, _socket, name, _context):
        self._asked.name = name

    def one(self, raw):
        raw.settimeout(10)
        self._asked.name = None
        try:
            if self.starttls:
                read_until(raw, b"version='1.0'>")
                raw.sendall(OPENING.encode() + b"<stream:features><starttls "
                            b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
                read_until(raw, b"/>")
                raw.sendall(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + self.first)
            elif self.first:
                raw.sendall(self.first)
            sock = self.context.wrap_socket(raw, server_side=True)
        except OSError:
            self.failed += 1
            raw.close()
            return
        self.handshakes.append((self._asked.name, sock.session_reused))
        try:
            sock.sendall(b"tlsnode\n")
            while data := sock.recv(4096):
                self.words.append(data)
        except OSError:
            pass
        sock.close()


class Hellos(FreshCase):
    """Beginnings of handshakes that never become one."""

    def start(self):
        self.authority = Authority(self.workspace)
        self.echo = SinkNode(self.workspace, "echo", "127.0.0.2").start()
        self.ports = {name: net.free_port() for name in ("tls", "sni")}
        self.balancer = Balancer(self.workspace, {
            "listener": {
                "tls": {"bind": f"127.0.0.1:{self.ports['tls']}", "pool": "echo", "mode": "tls",
                        "certificates": certificates(self.authority.issue("front", [DOMAIN])),
                        "handshake_timeout": "60s"},
                "sni": {"bind": f"127.0.0.1:{self.ports['sni']}", "pool": "echo", "mode": "sni",
                        "handshake_timeout": "60s"}},
            "pool": {"echo": {"node": node_tables([self.echo])}},
        }).start()

    def raw(self, name):
        return socket.create_connection(("127.0.0.1", self.ports[name]), timeout=10)

    def assert_all_gone(self):
        wait_until(lambda: self.balancer.open_connections() == 0, "all are gone")

    def repeated(self, connections):
        """A hello that must be answered by a HelloRetryRequest, then the same again and again."""
        for _ in range(connections):
            hello = hello_without_key_share()
            with self.raw("tls") as sock:
                sock.sendall(hello)
                answer = read_until(sock, b"\x02", 64)
                self.assertEqual(answer[:1], b"\x16", answer)  # HelloRetryRequest, no alert
                try:
                    sock.sendall(hello * 10)
                except OSError:
                    pass
                read_all(sock)

    def test_hellos_that_repeat_after_the_retry_request_leave_memory_flat(self):
        self.start()
        self.repeated(100)  # the heap has its size
        self.assert_all_gone()
        before = self.balancer.rss_bytes()
        self.repeated(600)
        self.assert_all_gone()
        self.assertLess(self.balancer.rss_bytes() - before, 1 << 20)
        self.assertEqual(self.balancer.metric("mongooselb_tls_handshakes_active", listener="tls"), 0)
        connect(self.ports["tls"], client_context(self.authority.ca_file)).close()

    def test_bytes_behind_a_close_notify_in_one_receive_end_the_connection_and_nobody_spins(self):
        """attacks.md: one client must not stop its worker, whoever handles its records."""
        self.start()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version.name), self.raw("tls") as raw:
                came, said = ssl.MemoryBIO(), ssl.MemoryBIO()
                context = client_context(self.authority.ca_file, version=version)
                tls = context.wrap_bio(came, said, server_hostname=DOMAIN)
                words = b""
                while not words:  # the node's greeting
                    try:
                        words = tls.read(100)
                    except ssl.SSLWantReadError:
                        raw.sendall(said.read())
                        came.write(raw.recv(65536))
                try:
                    tls.unwrap()
                except ssl.SSLWantReadError:
                    pass
                raw.sendall(said.read() + b"\x17\x03\x03\x00\x01x")
                raw.shutdown(socket.SHUT_WR)
                read_all(raw)
        self.assert_all_gone()
        self.assertLess(cpu_shares([self.balancer.process.pid])[0], 0.2)
        with connect(self.ports["tls"], client_context(self.authority.ca_file)) as sock:
            self.assertTrue(read_until(sock, b"\n"), "it serves on")

    def test_a_hello_that_stops_in_the_middle_ends_with_its_connection_and_does_not_spin(self):
        self.start()
        hello = hello_without_key_share()
        held = []
        for name in self.ports:
            for size in (0, 1, 5, 6, 43, len(hello) - 1):
                for _ in range(3):
                    sock = self.raw(name)
                    sock.sendall(hello[:size])
                    held.append(sock)
        wait_until(lambda: self.balancer.open_connections() == len(held), "all are there")
        self.assertLess(cpu_shares([self.balancer.process.pid])[0], 0.2)
        for index, sock in enumerate(held):  # each size: closed, half closed, reset
            if index % 3 == 1:
                sock.shutdown(socket.SHUT_WR)
                read_all(sock)
            elif index % 3 == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        self.assert_all_gone()

    def test_connections_at_rest_in_every_phase_of_tls_wake_nobody(self):
        """Refused, half closed, unread alerts, open: none of them leaves something to retry."""
        self.start()
        held = []
        for index in range(40):
            if index % 4 == 0:    # refused: an alert waits, and the client does not close
                sock = self.raw("tls")
                sock.sendall(b"\x16\x03\x01\x00\x05hello")
            elif index % 4 == 1:  # waits for the second hello
                sock = self.raw("tls")
                sock.sendall(hello_without_key_share())
            else:
                sock = connect(self.ports["tls"], client_context(self.authority.ca_file))
                read_until(sock, b"\n")
                if index % 4 == 3:  # said its end in TLS and keeps the socket
                    sock.settimeout(0.2)
                    try:
                        sock.unwrap()
                    except OSError:
                        pass
            held.append(sock)
        self.assertLess(cpu_shares([self.balancer.process.pid])[0], 0.2)
        for sock in held:
            sock.close()
        self.assert_all_gone()


def hello_of(size):
    """The bytes of a ClientHello that an extension of nobody's makes so long, and beyond its bounds
    cipher suites of nobody's; in whole records."""
    padded = min(size, 60_000)
    padding = struct.pack("!HH", 0x4000, padded) + bytes(padded)
    suites = b"\x13\1" + b"\x0a\x0a" * ((size - padded) // 2)
    extensions = (b"\0\x2b\0\3\2\3\4" b"\0\x0a\0\4\0\2\0\x1d" b"\0\x0d\0\6\0\4\4\3\x08\4"
                  b"\0\x33\0\x26\0\x24\0\x1d\0\x20\x09" + bytes(31) + padding)
    body = (b"\3\3" + os.urandom(32) + b"\0" + struct.pack("!H", len(suites)) + suites +
            b"\1\0" + struct.pack("!H", len(extensions)) + extensions)
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"".join(b"\x16\3\1" + struct.pack("!H", len(part)) + part for part in
                    (message[at:at + 16384] for at in range(0, len(message), 16384)))


def first_flight(context, name=DOMAIN):
    said = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return said.read()


class Words(FreshCase):
    """What a client is told that begins or goes on wrongly, and who waits for whom."""

    def start(self, listener=None, workers=1):
        self.authority = Authority(self.workspace)
        self.echo = SinkNode(self.workspace, "echo", "127.0.0.2").start()
        self.ports = {name: net.free_port() for name in ("tls", "sni")}
        self.balancer = Balancer(self.workspace, {
            "process": {"workers": workers},
            "listener": {
                "tls": {"bind": f"127.0.0.1:{self.ports['tls']}", "pool": "echo", "mode": "tls",
                        "certificates": certificates(self.authority.issue("front", [DOMAIN])),
                        **(listener or {})},
                "sni": {"bind": f"127.0.0.1:{self.ports['sni']}", "pool": "echo", "mode": "sni"}},
            "pool": {"echo": {"node": node_tables([self.echo])}},
        }).start()

    def said_to(self, words, name="tls", pieces=None):
        with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=10) as sock:
            step = pieces or len(words)
            try:
                for at in range(0, len(words), step):
                    sock.sendall(words[at:at + step])
                return sock.recv(7)
            except ConnectionError:
                return b"reset"

    def test_first_words_that_are_no_handshake_get_an_alert_but_http(self):
        self.start()
        alert = b"\x15\x03\x03\x00\x02\x02\x0a"
        for name in self.ports:
            with self.subTest(name=name):
                self.assertEqual(self.said_to(b"<?xml version='1.0'?>", name), alert)
                self.assertEqual(self.said_to(b"\x17\x03\x03\x00\x05hello", name), alert)
                self.assertEqual(self.said_to(b"GET / HTTP/1.1\r\n\r\n", name), b"")

    def test_a_long_hello_is_served_up_to_the_bound_however_it_comes_and_else_gets_an_alert(self):
        self.start()
        for size, first in ((16_000, b"\x16"), (20_000, b"\x16"), (60_000, b"\x16"),
                            (70_000, b"\x15"), (110_000, b"\x15")):
            for pieces in (None, 1400):
                with self.subTest(size=size, pieces=pieces):
                    self.assertEqual(self.said_to(hello_of(size), pieces=pieces)[:1], first)

    def test_early_data_behind_a_hello_is_passed_over(self):
        self.start()
        # early_data (42), then records that nobody can read: OpenSSL passes over 16 KB of them.
        hello = hello_of(2000)
        body = bytearray(hello[5:])
        body += b"\0\x2a\0\0"
        body[1:4] = (len(body) - 4).to_bytes(3, "big")
        at = 4 + 2 + 32 + 1 + 4 + 2  # of the extensions' length
        body[at:at + 2] = struct.pack("!H", len(body) - at - 2)
        early = b"".join(b"\x17\3\3" + struct.pack("!H", 7500) + os.urandom(7500)
                         for _ in range(2))
        answer = self.said_to(b"\x16\3\1" + struct.pack("!H", len(body)) + bytes(body) + early)
        self.assertEqual(answer[:1], b"\x16")

    def test_a_forged_record_gets_its_alert_behind_what_was_under_way_to_the_client(self):
        self.start()
        for _ in range(60):
            with socket.create_connection(("127.0.0.1", self.ports["tls"]), timeout=10) as raw:
                came, said = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = client_context(self.authority.ca_file).wrap_bio(came, said,
                                                                      server_hostname=DOMAIN)
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        raw.sendall(said.read())
                        came.write(raw.recv(65536))
                for _ in range(40):
                    tls.write(b"x" * 16000)
                forged = said.read() + b"\x17\3\3\0\x40" + os.urandom(64) + b"x" * 100_000

                def send(data, sock=raw):
                    try:
                        sock.sendall(data)
                    except OSError:
                        pass
                sender = threading.Thread(target=send, args=(forged,))
                sender.start()
                alert = None
                while alert is None:
                    try:
                        if not tls.read(65536):
                            alert = "none: the stream ended in good order"
                    except ssl.SSLWantReadError:
                        data = raw.recv(65536)
                        if data:
                            came.write(data)
                        else:
                            alert = "none: the socket ended"
                    except ssl.SSLError as error:
                        alert = str(error)
                sender.join()
                self.assertRegex(alert.lower(), "bad.record.mac")

    def test_the_log_has_name_and_version_of_handshakes_that_failed_and_of_what_passed_as_it_was(self):
        self.start({"tls_min": "1.3"})
        old = client_context(self.authority.ca_file, version=ssl.TLSVersion.TLSv1_2)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            connect(self.ports["tls"], old).close()
        line = self.balancer.access_log.wait_for(1, listener="tls", end="tls_handshake_failed")[0]
        self.assertEqual((line["sni"], line["tls"]), (DOMAIN, "TLSv1.2"))
        for version, offered in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
                                 (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            with socket.create_connection(("127.0.0.1", self.ports["sni"]), timeout=10) as sock:
                sock.sendall(first_flight(client_context(self.authority.ca_file, version=version)))
                self.assertTrue(sock.recv(1), "it came to the node")
            line = self.balancer.access_log.wait_for(1, listener="sni", tls=offered)[0]
            self.assertEqual(line["sni"], DOMAIN)

    def test_clients_that_fall_silent_in_their_handshake_keep_nobody_out(self):
        self.start({"handshakes_max": 8, "handshake_timeout": "60s"})
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version.name):
                words = first_flight(client_context(self.authority.ca_file, version=version))
                silent = []
                for _ in range(20):
                    sock = socket.create_connection(("127.0.0.1", self.ports["tls"]), timeout=10)
                    sock.sendall(words)
                    silent.append(sock)
                # Ten seconds are given, and the silent ones have sixty.
                with connect(self.ports["tls"], client_context(self.authority.ca_file)) as sock:
                    self.assertTrue(read_until(sock, b"\n"))
                for sock in silent:
                    sock.close()
                wait_until(lambda: self.balancer.open_connections() == 0, "all are gone")

    def test_half_open_handshakes_of_one_source_are_bounded_and_no_other_source_notices(self):
        """One that has said its hello and stopped holds little, and may take its time; but one address
        holds no more than 512 of them that are silent for two seconds: the longest silent leaves."""
        self.bounded_half_open(workers=1)

    def test_the_bound_of_half_open_handshakes_is_the_process_s_however_many_workers_there_are(self):
        self.bounded_half_open(workers=4)

    def bounded_half_open(self, workers):
        self.start({"handshakes_max": 0, "handshake_timeout": "120s"}, workers)
        words = first_flight(client_context(self.authority.ca_file,
                                            version=ssl.TLSVersion.TLSv1_3))
        held = []

        def silent(source, count):
            socks = []
            for _ in range(count):
                sock = socket.create_connection(("127.0.0.1", self.ports["tls"]), timeout=10,
                                                source_address=(source, 0))
                sock.sendall(words)
                self.assertTrue(sock.recv(1), "the server's flight")
                socks.append(sock)
            held.extend(socks)
            return socks

        def ended():
            return self.balancer.metric("mongooselb_ended_total", reason="tls_handshake_timeout")

        other = silent("127.0.0.2", 20)
        first = silent("127.0.0.3", 512)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 2.2, "they are silent for two seconds", 5)
        self.assertEqual(ended(), 0, "up to the bound they stay")
        silent("127.0.0.3", 40)
        wait_until(lambda: ended() == 40, "one for each that came")

        def closed(sock):
            sock.settimeout(0.01)
            try:
                while sock.recv(65536):
                    pass
                return True
            except TimeoutError:
                return False
            except OSError:
                return True
        gone = [closed(sock) for sock in first]
        self.assertEqual(sum(gone), 40, "of those who were silent for long")
        if workers == 1:
            self.assertEqual(gone[:41], [True] * 40 + [False], "those who were silent for longest")
        self.assertFalse(any(closed(sock) for sock in other))
        with connect(self.ports["tls"], client_context(self.authority.ca_file)) as sock:
            self.assertTrue(read_until(sock, b"\n"), "who goes on is served")
        for sock in held:
            sock.close()
        wait_until(lambda: self.balancer.open_connections() == 0, "all are gone")


class Nodes(FreshCase):
    """TLS towards nodes."""

    def start(self, node, pools, listeners=None):
        self.ports = {name: net.free_port() for name in pools}
        self.balancer = Balancer(self.workspace, {
            "listener": {name: {"bind": f"127.0.0.1:{port}", "pool": name, **(listeners or {})}
                         for name, port in self.ports.items()},
            "pool": {name: {"node": node_tables([node]), "retries": 0, "tls_verify_name": DOMAIN,
                            **pool} for name, pool in pools.items()},
        }).start()

    def ask(self, name):
        with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=10) as sock:
            sock.settimeout(10)
            return read_until(sock, b"\n")

    def test_a_session_is_resumed_for_the_same_name_only_and_never_taken_from_a_check(self):
        authority = Authority(self.workspace)
        node = TlsNode(authority.issue("node", [DOMAIN, "other.example"]))
        self.addCleanup(node.close)
        pool = {"tls": "tls", "tls_ca": authority.ca_file, "tls_sni": DOMAIN,
                "check": [{"type": "tcp", "interval": "1s", "fast_interval": "100ms", "rise": 3,
                           "tls": False}]}
        self.start(node, {"a": pool, "b": {**pool, "tls_sni": "other.example"}})
        wait_until(lambda: node.failed >= 6, "checks have been there, and did not handshake")
        wait_until(lambda: set(self.balancer.node_states().values()) == {"up"}, "it is up")
        self.assertEqual(node.handshakes, [], "a check leaves no session")
        for name in ("a", "a", "b", "b", "a"):
            self.assertEqual(self.ask(name), b"tlsnode\n")
        self.assertEqual(node.handshakes, [(DOMAIN, False), (DOMAIN, True), ("other.example", False),
                                           ("other.example", True), (DOMAIN, True)])
        # The same pool and node, and another name from now on.
        self.balancer.reload({"pool": {"a": {"tls_sni": "other.example"}}})
        wait_until(lambda: self.ask("a") and node.handshakes[-1][0] == "other.example",
                   "the new name is asked for")
        first = [resumed for _, resumed in node.handshakes[5:] if _ == "other.example"][0]
        self.assertFalse(first, "a session under the old name is not offered")

    def test_plaintext_from_a_node_before_or_behind_the_agreement_closes_the_connection(self):
        authority = Authority(self.workspace)
        certificate = authority.issue("node", [DOMAIN])
        injected = b"<stream:features><mechanisms><mechanism>PLAIN</mechanism></mechanisms>\n"
        for mode, first in (("tls", injected), ("tls", b"\x17\x03\x03\x00\x06words\n"),
                            ("tls", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ("starttls", injected),
                            ("starttls", b"\x17\x03\x03\x00\x06words\n")):
            with self.subTest(mode=mode, first=first):
                node = TlsNode(certificate, first, starttls=mode == "starttls")
                self.start(node, {"p": {"tls": mode, "tls_ca": authority.ca_file,
                                        **({"starttls_to": DOMAIN} if mode == "starttls" else {})}})
                with socket.create_connection(("127.0.0.1", self.ports["p"]), timeout=10) as sock:
                    sock.sendall(b"secret words")
                    self.assertEqual(read_all(sock), b"")
                wait_until(lambda: node.failed == 1, "the node saw the end of it")
                self.assertEqual((node.handshakes, node.words), ([], []))
                wait_until(lambda: self.balancer.metric("mongooselb_ended_total",
                                                        reason="node_tls_failed") == 1, "counted")
                self.balancer.stop()
                node.close()
        # The same node without the plaintext is spoken to.
        for mode in ("tls", "starttls"):
            node = TlsNode(certificate, starttls=mode == "starttls")
            self.addCleanup(node.close)
            self.start(node, {"p": {"tls": mode, "tls_ca": authority.ca_file,
                                    **({"starttls_to": DOMAIN} if mode == "starttls" else {})}})
            self.assertEqual(self.ask("p"), b"tlsnode\n")
            self.balancer.stop()


    def test_who_leaves_while_the_node_is_silent_in_tls_leaves_nothing_and_who_stays_is_told(self):
        authority = Authority(self.workspace)
        node = Recorder()  # takes the ClientHello and answers nothing
        self.addCleanup(node.close)
        pool = {"tls": "tls", "tls_ca": authority.ca_file}
        self.start(node, {"patient": {**pool, "connect_timeout": "5m"},
                          "hasty": {**pool, "connect_timeout": "1s"}})
        gone = [socket.create_connection(("127.0.0.1", self.ports["patient"]), timeout=10)
                for _ in range(40)]
        wait_until(lambda: len(node.received) == 40 and all(node.received), "hellos are there")
        for sock in gone:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        wait_until(lambda: self.balancer.open_connections() == 0, "all are gone")
        wait_until(lambda: all(node.ended), "and the node's ends with them")
        self.assertEqual(self.balancer.metric("mongooselb_ended_total", reason="client_reset"), 40)
        with socket.create_connection(("127.0.0.1", self.ports["hasty"]), timeout=30) as sock:
            sock.settimeout(30)
            self.assertEqual(read_all(sock), b"")
        wait_until(lambda: self.balancer.open_connections() == 0, "it was given up")


class ClientCertificates(FreshCase):
    def openssl(self, *words):
        done = subprocess.run(["openssl", *words], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, cwd=self.authority.folder)
        self.assertEqual(done.returncode, 0, done.stderr)

    def issue_with_names(self, name, names):
        """A client certificate with these DNS names as they are, byte for byte."""
        def der(tag, body):
            size = len(body)
            if size < 128:
                return bytes([tag, size]) + body
            return bytes([tag, 0x82]) + size.to_bytes(2, "big") + body
        value = der(0x30, b"".join(der(0x82, one) for one in names)).hex(":")
        self.workspace.write(f"certs/{name}.ext", f"2.5.29.17=DER:{value}\n"
                             "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext", "-out",
                     f"{name}.pem")
        folder = self.authority.folder
        return os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")

    def write_crl(self, revoked=()):
        """A list of revoked certificates, as `openssl ca` makes it."""
        self.workspace.write("certs/crl.cnf", "[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\n"
                             "certificate=ca.pem\nprivate_key=ca.key\ndefault_md=sha256\n"
                             "default_crl_days=30\n")
        index = os.path.join(self.authority.folder, "index.txt")
        if not os.path.exists(index):
            self.workspace.write("certs/index.txt", "")
        for certificate in revoked:
            self.openssl("ca", "-config", "crl.cnf", "-revoke", certificate)
        self.openssl("ca", "-config", "crl.cnf", "-gencrl", "-out", "crl.pem")
        return os.path.join(self.authority.folder, "crl.pem")

    def start(self, **listener):
        self.recorder = Recorder("127.0.0.3")
        self.addCleanup(self.recorder.close)
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "listener": {"tls": {"bind": f"127.0.0.1:{self.port}", "pool": "keep", "mode": "tls",
                                 "certificates": certificates(
                                     self.authority.issue("front", [DOMAIN])),
                                 "client_ca": self.authority.ca_file, **listener}},
            "pool": {"keep": {"node": node_tables([self.recorder]), "send_proxy": "v2"}},
        }).start()

    def present(self, certificate, words=b"hello", context=None, session=None):
        """The TLVs of the node's connection, whose payload is compared, or None where we were
        refused. Keeps the session in self.session."""
        before = len(self.recorder.received)
        if context is None:
            context = self.context_of(certificate)

        def header_size():
            got = self.recorder.received[before] if len(self.recorder.received) > before else b""
            return 16 + int.from_bytes(got[14:16], "big") if len(got) >= 16 else 0

        try:
            with connect(self.port, context, session=session) as sock:
                sock.sendall(words)
                # Looking for the end also takes in the ticket, which may come after the header.
                wait_until(lambda: ended(sock) or (header_size() and sock.session.has_ticket),
                           "served, with a ticket, or refused")
                if not header_size():
                    return None
                self.session = sock.session
                self.reused = sock.session_reused
                length = header_size()
                got = self.recorder.wait_for(before, length + len(words))
        except (ssl.SSLError, ConnectionError):
            self.assertEqual(len(self.recorder.received), before, "refused, and yet at the node")
            return None
        tlvs, at = {}, 16 + 12
        while at < length:
            size = int.from_bytes(got[at + 1:at + 3], "big")
            tlvs.setdefault(got[at], []).append(bytes(got[at + 3:at + 3 + size]))
            at += 3 + size
        self.assertEqual(at, length, "the last TLV ends where the header ends")
        self.assertEqual(bytes(got[length:]), words)
        return tlvs

    def context_of(self, certificate):
        context = client_context(self.authority.ca_file)
        context.load_cert_chain(*certificate)
        return context

    def test_a_revoked_client_certificate_is_refused_from_the_next_reload_on(self):
        self.authority = Authority(self.workspace)
        good = self.authority.issue("good", ["good.example"])
        lost = self.authority.issue("lost", ["lost.example"])
        self.start(client_auth="required", client_crl=self.write_crl())
        self.assertIn(b"good.example", self.present(good)[0xe3])
        keeps = self.context_of(lost)
        self.assertIn(b"lost.example", self.present(lost, context=keeps)[0xe3])
        session = self.session
        self.assertIn(b"lost.example", self.present(lost, context=keeps, session=session)[0xe3])
        self.assertTrue(self.reused)
        session = self.session
        self.write_crl([lost[0]])
        self.balancer.ctl_ok("reload")
        wait_until(lambda: self.present(lost) is None, "the revoked one is refused")
        self.assertIsNone(self.present(lost, context=keeps, session=session),
                          "nor by a ticket from before")
        for _ in range(3):
            self.assertIsNone(self.present(lost))
            self.assertIn(b"good.example", self.present(good)[0xe3])
        self.assertGreater(self.balancer.metric("mongooselb_ended_total",
                                                reason="tls_handshake_failed"), 0)

    def test_a_name_with_a_nul_inside_is_told_to_no_node(self):
        self.authority = Authority(self.workspace)
        self.start(client_auth="optional")
        evil = self.issue_with_names("evil", [DOMAIN.encode() + b"\0.evil.example", b"fine.example"])
        tlvs = self.present(evil)
        self.assertEqual(tlvs[0xe3], [b"fine.example"])
        self.assertNotIn(DOMAIN.encode(), b"".join(tlvs[0xe3]))

    def test_a_certificate_with_too_many_names_for_the_header_spills_nothing_into_the_stream(self):
        self.authority = Authority(self.workspace)
        self.start(client_auth="optional")
        many = self.issue_with_names("many", [b"%04d." % i + b"x" * 50 + b".example"
                                              for i in range(400)])
        tlvs = self.present(many, b"<payload/>")  # compares it, too
        self.assertNotIn(0xe3, tlvs, "400 names fit into no header of ours")
        self.assertEqual(len(tlvs[0xe0][0]), 32, "what binds the channel is there in any case")


class LongSessions(FreshCase):
    """Reloads and upgrades while clients stay for hours."""

    def start(self):
        self.authority = Authority(self.workspace)
        self.echo = SinkNode(self.workspace, "echo", "127.0.0.2").start()
        self.ports = {name: net.free_port() for name in ("plain", "tls", "extra")}
        self.socket_path = self.workspace.path("local.sock")
        front = certificates(self.authority.issue("front", [DOMAIN]))
        self.balancer = Balancer(self.workspace, {
            "process": {"drain_deadline": "10m"},
            "listener": {
                "plain": {"bind": f"127.0.0.1:{self.ports['plain']}", "pool": "echo"},
                "tls": {"bind": f"127.0.0.1:{self.ports['tls']}", "pool": "echo", "mode": "tls",
                        "certificates": front},
                "extra": {"bind": f"127.0.0.1:{self.ports['extra']}", "pool": "echo"},
                "local": {"bind": f"unix:{self.socket_path}", "pool": "echo"}},
            "pool": {"echo": {"node": node_tables([self.echo])}},
        }).start()
        self.held = []

    def hold(self, count=6):
        for index in range(count):
            if index % 2:
                sock = connect(self.ports["tls"], client_context(self.authority.ca_file))
            else:
                sock = socket.create_connection(("127.0.0.1", self.ports["plain"]), timeout=10)
            self.assertEqual(read_until(sock, b"\n"), b"echo\n")
            self.held.append(sock)
            self.addCleanup(sock.close)

    def assert_all_live(self):
        for index, sock in enumerate(self.held):
            words = b"still here %d\n" % index
            sock.sendall(words)
            self.assertEqual(read_until(sock, b"\n"), words)

    def assert_local_served(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.socket_path)
            self.assertEqual(read_until(sock, b"\n"), b"echo\n")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.balancer.process.pid}/fd"))

    def test_ten_reloads_and_upgrades_under_long_sessions_leave_every_process_idle(self):
        self.start()
        processes = [self.balancer.process]
        for step in range(10):
            self.hold(4)
            self.balancer.reload({"pool": {"echo": {"idle_timeout": f"{step + 1}h"}}})
            if step % 3 == 2:
                self.balancer.upgrade()
                processes.append(self.balancer.process)
        self.assert_all_live()
        pids = [process.pid for process in processes]
        self.assertEqual(len(set(pids)), 4)
        for pid, used in zip(pids, cpu_shares(pids)):
            self.assertLess(used, 0.2, f"process {pid} of {pids}")
        self.assert_all_live()
        for sock in self.held:
            sock.close()
        for process in processes[:-1]:
            wait_until(lambda p=process: not p.alive(), "an old process ends with its sessions")

    def test_ten_reloads_leave_no_descriptor_behind(self):
        self.start()
        self.hold()
        self.balancer.reload({"pool": {"echo": {"idle_timeout": "2h"}}})
        before = self.descriptors()
        for step in range(10):
            self.balancer.reload({"pool": {"echo": {"idle_timeout": f"{step + 3}h"}}})
        wait_until(lambda: self.descriptors() <= before, "as many descriptors as before")
        self.assert_all_live()

    def test_after_a_failed_reload_and_a_failed_upgrade_signals_and_inherited_sockets_work(self):
        self.start()
        self.hold()
        good = self.balancer.config
        self.balancer.write_config({"pool": {"echo": {"balence": "p2c"}}})
        self.assertNotEqual(self.balancer.ctl("reload").returncode, 0)
        self.assertNotEqual(self.balancer.ctl("upgrade").returncode, 0)
        self.balancer.sighup()
        wait_until(lambda: self.balancer.process.log().count("balence") >= 3, "refused thrice")
        # The good file that follows names one listener less.
        self.balancer.config = good
        del self.balancer.config["listener"]["extra"]
        self.balancer.write_config()
        first = self.balancer.upgrade()
        self.hold()
        self.assert_local_served()
        # Both processes had the third listener's socket; the new one has closed it, the old one
        # stops to listen when the new one serves.
        wait_until(lambda: not net.accepts("127.0.0.1", self.ports["extra"]),
                   "nobody listens for a listener that is gone")
        self.balancer.write_config({"pool": {"echo": {"idle_timeout": "2h"}}})
        before = self.balancer.metric("mongooselb_reloads_total")
        self.balancer.sighup()
        wait_until(lambda: self.balancer.metric("mongooselb_reloads_total") > before,
                   "the signal reloads the new process")
        self.assert_all_live()
        self.assert_local_served()
        self.assertTrue(first.alive())
        for sock in self.held:
            sock.close()
        self.assertEqual(first.wait_exit(20), 0)


if __name__ == "__main__":
    unittest.main()
