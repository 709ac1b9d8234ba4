"""TLS in the balancer: direct TLS, STARTTLS, pass-through by name, TLS towards the nodes."""

import asyncio
import hashlib
import os
import re
import select
import socket
import ssl
import subprocess
import threading
import time
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.node import SinkNode, node_tables
from lib.prosody import Prosody
from lib.recorder import Recorder
from lib.slix import SlixClient, exchange
from lib.tls import certificates, client_context, connect, read_all, read_until
from lib.wait import wait_until

DOMAIN = "chat.example"
OPENING = (f"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
           f"to='{DOMAIN}' version='1.0'>")
CHECK = [{"type": "tcp", "interval": "1s", "fast_interval": "200ms"}]


def run(command, words="", deadline_s=20):
    """The finished client program; its stdin stays open until it ends or `words` were answered."""
    return subprocess.run(command, input=words, capture_output=True, text=True, timeout=deadline_s,
                          check=False)


class RealClients(EndToEndCase):
    """Real clients through each mode, a real Prosody behind."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.node = Prosody(cls.workspace, cls.authority, "n1", "127.0.0.2", DOMAIN).start()
        front = cls.authority.issue("front", [DOMAIN])
        cls.ports = {name: net.free_port() for name in ("direct", "starttls", "sni")}
        to_node = {"check": CHECK, "tls_ca": cls.authority.ca_file, "tls_verify_name": DOMAIN}
        direct_node = [{"name": "n1", "address": f"127.0.0.2:{cls.node.c2s_tls_port}"}]
        cls.balancer = Balancer(cls.workspace, {
            "listener": {
                "direct": {"bind": f"127.0.0.1:{cls.ports['direct']}", "pool": "starttls",
                           "mode": "tls", "certificates": certificates(front)},
                "starttls": {"bind": f"127.0.0.1:{cls.ports['starttls']}", "pool": "tls",
                             "mode": "starttls", "certificates": certificates(front)},
                "sni": {"bind": f"127.0.0.1:{cls.ports['sni']}", "pool": "nowhere", "mode": "sni",
                        "route": [{"domain": DOMAIN, "alpn": "xmpp-client", "pool": "raw"},
                                  {"domain": DOMAIN, "pool": "raw"}]},
            },
            "pool": {
                "starttls": {"node": node_tables([cls.node]), "tls": "starttls",
                             "starttls_to": DOMAIN, **to_node},
                "tls": {"node": direct_node, "tls": "tls", **to_node},
                "raw": {"node": direct_node, "check": CHECK},
                "nowhere": {"node": [{"name": "n0", "address": "127.0.0.1:1"}], "check": CHECK},
            },
        }).start()
        wait_until(lambda: cls.balancer.node_states().get("n1") == "up", "the node is up")

    def slix(self, user, mode, register=False):
        return SlixClient(user, DOMAIN, "secret", "127.0.0.1", self.ports[mode],
                          self.authority.ca_file, register=register,
                          tls="starttls" if mode == "starttls" else "direct")

    def chat(self, mode):
        async def scene():
            one = await self.slix(f"{mode}1", mode, register=True).login()
            other = await self.slix(f"{mode}2", mode, register=True).login()
            await exchange(one, other, f"through {mode} <&> ü")
            await one.logout()
            await other.logout()
        asyncio.run(scene())

    def test_slixmpp_over_direct_tls(self):
        self.chat("direct")

    def test_slixmpp_over_starttls(self):
        self.chat("starttls")

    def test_slixmpp_passed_through_by_name(self):
        self.chat("sni")

    def s_client(self, mode, *more):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.ports[mode]}", "-CAfile",
                   self.authority.ca_file, "-verify_return_error", "-quiet", "-servername", DOMAIN,
                   *more]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as client:
            client.stdin.write(OPENING.encode())
            client.stdin.flush()
            timer = threading.Timer(15, client.kill)
            timer.start()
            data = b""
            while b"</stream:features>" not in data:
                more_data = os.read(client.stdout.fileno(), 65536)
                if not more_data:
                    break
                data += more_data
            timer.cancel()
            client.kill()
            errors = client.stderr.read().decode()
        self.assertIn(b"</stream:features>", data, errors)
        return data.decode()

    def test_s_client_over_direct_tls_with_alpn(self):
        for version in ("-tls1_2", "-tls1_3"):
            features = self.s_client("direct", "-alpn", "xmpp-client", version)
            self.assertIn("SCRAM-SHA-1", features)
            self.assertNotIn("<starttls", features)

    def test_s_client_over_starttls(self):
        for version in ("-tls1_2", "-tls1_3"):
            features = self.s_client("starttls", "-starttls", "xmpp", "-xmpphost", DOMAIN, version)
            self.assertIn("SCRAM-SHA-1", features)

    def test_s_client_passed_through_by_name(self):
        self.assertIn("SCRAM-SHA-1", self.s_client("sni", "-alpn", "xmpp-client"))

    def test_gnutls_cli_over_direct_tls_and_starttls(self):
        for mode, more in (("direct", ["--alpn=xmpp-client"]), ("starttls", ["--starttls-proto=xmpp"])):
            done = run(["gnutls-cli", "--x509cafile", self.authority.ca_file, "--sni-hostname",
                        DOMAIN, "--verify-hostname", DOMAIN, "-p", str(self.ports[mode]), *more,
                        "127.0.0.1"])
            self.assertIn("Handshake was completed", done.stdout, done.stderr)


class Scanners(EndToEndCase):
    """What a tool says that auditors run."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        front = cls.authority.issue("front", [DOMAIN])
        recorder = Recorder()
        cls.addClassCleanup(recorder.close)
        cls.ports = {"tls": net.free_port(), "starttls": net.free_port()}
        cls.balancer = Balancer(cls.workspace, {
            "listener": {mode: {"bind": f"127.0.0.1:{port}", "pool": "keep", "mode": mode,
                                "certificates": certificates(front)}
                         for mode, port in cls.ports.items()},
            "pool": {"keep": {"node": node_tables([recorder])}},
        }).start()

    def test_sslscan_finds_nothing_weak(self):
        for mode, port in self.ports.items():
            more = ["--starttls-xmpp"] if mode == "starttls" else []
            done = run(["sslscan", "--no-colour", f"--sni-name={DOMAIN}", *more,
                        f"127.0.0.1:{port}"], deadline_s=120)
            report = done.stdout
            for old in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
                self.assertRegex(report, rf"{old} +disabled", mode)
            for new in ("TLSv1.2", "TLSv1.3"):
                self.assertRegex(report, rf"{new} +enabled", mode)
            accepted = re.findall(r"(?:Preferred|Accepted) +TLSv1\.[0-9] +([0-9]+) bits +(\S+)", report)
            self.assertGreaterEqual(len(accepted), 4, report)
            for bits, suite in accepted:
                self.assertGreaterEqual(int(bits), 128, suite)
                self.assertRegex(suite, "GCM|CHACHA20", suite)
                self.assertRegex(suite, "^(TLS_|ECDHE)", suite)
            self.assertNotIn("Compression enabled", report)
            self.assertNotRegex(report, "(?<!not )vulnerable to heartbleed")
            self.assertNotIn("Insecure session renegotiation", report)


class Storm(EndToEndCase):
    """Many handshakes at once."""

    def test_beyond_the_cap_handshakes_wait_and_all_come_through(self):
        authority = Authority(self.workspace)
        front = authority.issue("front", [DOMAIN])
        echo = SinkNode(self.workspace, "echo", "127.0.0.2").start()
        port = net.free_port()
        balancer = Balancer(self.workspace, {
            "listener": {"tls": {"bind": f"127.0.0.1:{port}", "pool": "echo", "mode": "tls",
                                 "certificates": certificates(front), "handshakes_max": 4,
                                 "handshake_timeout": "5s"}},
            "pool": {"echo": {"node": node_tables([echo])}},
        }).start()
        # Four who have said half of their hello hold no place.
        silent = []
        for _ in range(6):
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
            silent.append(sock)
        context = client_context(authority.ca_file)
        answers = []

        def one():
            sock = connect(port, context)
            answers.append(read_until(sock, b"\n"))
            sock.close()
        threads = [threading.Thread(target=one) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [b"echo\n"] * 40)
        self.assertGreater(balancer.metric("mongooselb_tls_handshakes_queued_total"), 0)
        for sock in silent:
            sock.close()
        wait_until(lambda: balancer.open_connections() == 0, "all are gone")
        self.assertEqual(balancer.metric("mongooselb_tls_handshakes_active", listener="tls"), 0)

    def test_an_upgrade_under_load_loses_no_connection_and_keeps_tickets(self):
        authority = Authority(self.workspace)
        front = authority.issue("front-up", [DOMAIN])
        echo = SinkNode(self.workspace, "echo-up", "127.0.0.3").start()
        port = net.free_port()
        balancer = Balancer(self.workspace, {
            "listener": {"tls": {"bind": f"127.0.0.1:{port}", "pool": "echo", "mode": "tls",
                                 "certificates": certificates(front),
                                 "ticket_key_file": self.workspace.path("keys")}},
            "pool": {"echo": {"node": node_tables([echo])}},
        }, name="up").start()
        context = client_context(authority.ca_file)
        held = []
        for _ in range(50):
            sock = connect(port, context)
            read_until(sock, b"\n")
            held.append(sock)
        session = held[0].session
        balancer.upgrade()
        again = connect(port, context, session=session)
        self.assertTrue(again.session_reused)
        self.assertEqual(read_until(again, b"\n"), b"echo-up\n")
        again.close()
        for index, sock in enumerate(held):
            sock.sendall(b"still here")
            self.assertEqual(read_until(sock, b"here"), b"still here", index)
            sock.close()


def echoed(sock, data, slow=0, limit=60):
    """Sends `data` while reading it back, in one thread: an SSL object takes one call at a time.
    The first `slow` bytes are read in small pieces. What came before the peer's end."""
    sock.setblocking(False)
    deadline = time.monotonic() + limit
    back = bytearray()
    sent = 0
    while len(back) < len(data):
        if time.monotonic() > deadline:
            raise TimeoutError(f"sent {sent} and read {len(back)} of {len(data)} bytes")
        moved = False
        try:
            if sent < len(data):
                sent += sock.send(data[sent : sent + 65536])
                moved = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            more = sock.recv(1024 if len(back) < slow else 65536)
            if not more:
                return back
            back += more
            moved = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if not moved:
            select.select([sock], [sock] if sent < len(data) else [], [], 1)
    return back


class Edges(EndToEndCase):
    """TLS that ends at the balancer, with nodes that keep or echo what they get."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.front = cls.authority.issue("front", [DOMAIN])
        cls.other = cls.authority.issue("other", ["other.example"])
        cls.client_certificate = cls.authority.issue("client", ["peer.example"])
        cls.echo = SinkNode(cls.workspace, "echo", "127.0.0.2").start()
        cls.recorder = Recorder("127.0.0.3")
        cls.ports = {name: net.free_port() for name in (
            "direct", "starttls", "mutual", "second", "openssl", "keep", "short", "optional")}
        cls.keys = cls.workspace.path("tickets.keys")

        def listener(name, certificate=cls.front, pool="echo", mode="tls", **more):
            return {"bind": f"127.0.0.1:{cls.ports[name]}", "pool": pool, "mode": mode,
                    "certificates": certificates(*certificate), "ticket_key_file": cls.keys, **more}

        ca = cls.authority.ca_file
        cls.balancer = Balancer(cls.workspace, {
            "listener": {
                "direct": listener("direct", (cls.front, cls.other)),
                "second": listener("second", (cls.other,)),
                "mutual": listener("mutual", (cls.front,), client_auth="required", client_ca=ca),
                "optional": listener("optional", (cls.front,), "keep", client_auth="optional",
                                     client_ca=ca),
                "openssl": listener("openssl", (cls.front,), own_records=False),
                "keep": listener("keep", (cls.front,), "keep"),
                "starttls": listener("starttls", (cls.front,), "keep", "starttls"),
                "short": listener("short", (cls.front,), handshake_timeout="300ms"),
            },
            "pool": {
                "echo": {"node": node_tables([cls.echo]), "check": CHECK},
                "keep": {"node": node_tables([cls.recorder]), "send_proxy": "v2"},
            },
        }).start()
        wait_until(lambda: cls.balancer.node_states().get("echo") == "up", "the node is up")

    @classmethod
    def tearDownClass(cls):
        cls.recorder.close()
        super().tearDownClass()

    def context(self, **more):
        return client_context(self.authority.ca_file, **more)

    def greeted(self, port, context, **more):
        sock = connect(port, context, **more)
        self.assertEqual(read_until(sock, b"\n"), b"echo\n")
        return sock

    def ended(self, reason):
        return self.balancer.metric("mongooselb_ended_total", reason=reason)

    def test_bytes_pass_whole_both_ways(self):
        data = os.urandom(3_000_000)
        for listener in ("direct", "openssl"):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                sock = self.greeted(self.ports[listener], self.context(version=version))
                back = echoed(sock, data)
                self.assertEqual(len(back), len(data), f"{listener} {version}")
                self.assertTrue(back == data, f"{listener} {version}")
                sock.close()

    def test_alpn_is_agreed_and_others_refused(self):
        sock = connect(self.ports["direct"], self.context(alpn=["h2", "xmpp-client"]))
        self.assertEqual(sock.selected_alpn_protocol(), "xmpp-client")
        sock.close()
        before = self.ended("tls_handshake_failed")
        with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
            connect(self.ports["direct"], self.context(alpn=["h2"]))
        wait_until(lambda: self.ended("tls_handshake_failed") > before, "the refusal is counted")

    def test_the_name_chooses_the_certificate(self):
        for name in (DOMAIN, "other.example"):
            sock = connect(self.ports["direct"], self.context(), name=name)
            self.assertIn((("commonName", name),), sock.getpeercert()["subject"])
            sock.close()

    def session_of(self, port, context, **more):
        sock = self.greeted(port, context, **more)
        session = sock.session
        sock.close()
        return session

    def test_a_ticket_resumes_and_never_where_the_policy_differs(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(version=version)
            session = self.session_of(self.ports["direct"], context)
            again = self.greeted(self.ports["direct"], context, session=session)
            self.assertTrue(again.session_reused)
            again.close()
            # The same keys on all listeners; but another certificate, or client certificates.
            session = self.session_of(self.ports["direct"], context)
            context.check_hostname = False
            other = self.greeted(self.ports["second"], context, session=session)
            self.assertFalse(other.session_reused)
            other.close()
            session = self.session_of(self.ports["direct"], context)
            with self.assertRaises(OSError):
                read_until(connect(self.ports["mutual"], context, session=session), b"\n")

    def test_a_ticket_of_one_name_is_refused_for_another(self):
        context = self.context()
        context.check_hostname = False
        session = self.session_of(self.ports["direct"], context)
        sock = self.greeted(self.ports["direct"], context, name="other.example", session=session)
        self.assertFalse(sock.session_reused)
        sock.close()

    def proxy_header(self, before, sock, words=b"hello"):
        """The TLVs that the recorder's connection number `before` began with."""
        sock.sendall(words)
        got = self.recorder.wait_for(before, 16)
        length = 16 + int.from_bytes(got[14:16], "big")
        got = self.recorder.wait_for(before, length + len(words))
        self.assertEqual(bytes(got[length:]), words)
        tlvs, at = {}, 16 + 12
        while at < length:
            size = int.from_bytes(got[at + 1:at + 3], "big")
            tlvs.setdefault(got[at], []).append(bytes(got[at + 3:at + 3 + size]))
            at += 3 + size
        return tlvs

    def test_the_node_learns_what_tls_established(self):
        before = len(self.recorder.received)
        sock = connect(self.ports["keep"], self.context(alpn=["xmpp-client"]))
        tlvs = self.proxy_header(before, sock)
        self.assertEqual(tlvs[0x01], [b"xmpp-client"])
        self.assertEqual(tlvs[0x02], [DOMAIN.encode()])
        self.assertIn(b"TLSv1.3", tlvs[0x20][0])
        der = sock.getpeercert(binary_form=True)
        self.assertEqual(tlvs[0xe0], [hashlib.sha256(der).digest()])
        self.assertEqual(len(tlvs[0xe1][0]), 32)
        sock.close()

    def test_the_node_learns_who_the_client_is(self):
        context = self.context()
        context.load_cert_chain(*self.client_certificate)
        before = len(self.recorder.received)
        sock = connect(self.ports["optional"], context)
        tlvs = self.proxy_header(before, sock)
        self.assertEqual(tlvs[0x20][0][0] & 1, 1)
        self.assertEqual(tlvs[0x20][0][1:5], bytes(4))
        self.assertIn(b"peer.example", tlvs[0xe3])
        sock.close()

    # --- What must not get through ---

    def test_bytes_behind_starttls_never_reach_tls(self):
        before = len(self.recorder.received)
        sock = socket.create_connection(("127.0.0.1", self.ports["starttls"]), timeout=10)
        sock.sendall(OPENING.encode())
        read_until(sock, b"</stream:features>")
        sock.sendall(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
                     b"<iq type='set' id='evil'/>")
        self.assertNotIn(b"<proceed", read_all(sock))
        sock.close()
        self.assertEqual(len(self.recorder.received), before)

    def test_openings_that_are_wrong_get_the_streams_errors(self):
        for opening, error in (
                (OPENING.replace("jabber:client", "jabber:nonsense"), b"invalid-namespace"),
                ("<!DOCTYPE a [<!ENTITY b 'c'>]>" + OPENING, b"restricted-xml"),
                (OPENING + "<message/>", b"policy-violation"),
                ("<a" + "b" * 9000, b"policy-violation")):
            sock = socket.create_connection(("127.0.0.1", self.ports["starttls"]), timeout=10)
            sock.sendall(opening.encode())
            answer = read_all(sock)
            self.assertIn(error, answer, opening[:60])
            self.assertTrue(answer.rstrip().endswith(b"</stream:stream>"), answer)
            sock.close()

    def test_starttls_in_single_bytes_with_white_space_and_a_declaration(self):
        raw = socket.create_connection(("127.0.0.1", self.ports["starttls"]), timeout=10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f"<?xml version='1.0'?>\n{OPENING}\n".encode():
            raw.sendall(bytes([byte]))
        read_until(raw, b"</stream:features>")
        for byte in b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>":
            raw.sendall(bytes([byte]))
        self.assertIn(b"<proceed", read_until(raw, b"/>"))
        before = len(self.recorder.received)
        sock = self.context().wrap_socket(raw, server_hostname=DOMAIN)
        self.proxy_header(before, sock, b"<after/>")
        sock.close()

    def test_who_speaks_something_else_is_closed(self):
        before = self.ended("not_tls")
        sock = socket.create_connection(("127.0.0.1", self.ports["direct"]), timeout=10)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(read_all(sock), b"")
        wait_until(lambda: self.ended("not_tls") > before, "counted")
        sock.close()

    def test_a_handshake_that_does_not_go_on_is_ended(self):
        before = self.ended("tls_handshake_timeout")
        socks = []
        for words in (b"", b"\x16\x03\x01\x02\x00\x01"):
            sock = socket.create_connection(("127.0.0.1", self.ports["short"]), timeout=10)
            sock.sendall(words)
            socks.append(sock)
        for sock in socks:
            read_all(sock)
            sock.close()
        wait_until(lambda: self.ended("tls_handshake_timeout") >= before + 2, "counted")

    def test_a_hello_with_an_impossible_name_reads_nothing_beyond_it(self):
        # 65 bytes of ClientHello, whose server_name says it has 0xffff bytes.
        body = (b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" +
                b"\x00\x0b" + b"\x00\x00\x00\x07" + b"\x00\x05\x00\xff\xff" + b"ab")
        hello = b"\x01" + len(body).to_bytes(3, "big") + body
        sock = socket.create_connection(("127.0.0.1", self.ports["direct"]), timeout=10)
        sock.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
        answer = read_all(sock)
        self.assertTrue(answer.startswith(b"\x15"), answer)  # an alert
        sock.close()
        self.greeted(self.ports["direct"], self.context()).close()

    def test_renegotiation_and_idle_wake_ups_do_not_happen(self):
        context = self.context(version=ssl.TLSVersion.TLSv1_2)
        sock = self.greeted(self.ports["direct"], context)
        before = self.balancer.cpu_seconds()
        held = [self.greeted(self.ports["direct"], self.context()) for _ in range(20)]
        start = self.balancer.cpu_seconds()
        end = time.monotonic() + 2
        wait_until(lambda: time.monotonic() > end, "two idle seconds", pause_s=0.5)
        self.assertLess(self.balancer.cpu_seconds() - start, 0.2, f"since {before}")
        done = run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.ports['direct']}",
                    "-tls1_2", "-servername", DOMAIN], "R\n")
        self.assertRegex(done.stdout + done.stderr, "(?i)no renegotiation|Secure Renegotiation IS")
        for one in [sock, *held]:
            one.close()

    def test_a_slow_reader_stops_its_sender_and_loses_nothing(self):
        sock = self.greeted(self.ports["direct"], self.context())
        data = os.urandom(4_000_000)
        back = echoed(sock, data, slow=100_000)
        self.assertEqual(len(back), len(data))
        self.assertTrue(back == data)
        sock.close()

    # --- Operations ---

    def test_metrics_tell_expiry_handshakes_and_take_over(self):
        self.greeted(self.ports["direct"], self.context()).close()
        days = self.balancer.metric("mongooselb_certificate_expiry_seconds", listener="direct",
                                    file=self.front[0]) / 86400
        self.assertTrue(28 < days <= 30, days)
        wait_until(lambda: self.balancer.metric("mongooselb_tls_take_over_total",
                                                reason="taken") > 0, "records were taken over")
        self.assertGreater(self.balancer.metric("mongooselb_tls_handshakes_total", result="full"), 0)

        # The usual handshake is declined for no reason, one of TLS 1.2 for its version.
        def declined(**labels):
            return self.balancer.metric("mongooselb_tls_handshakes_declined_total", **labels)
        before, versions = declined(), declined(reason="version")
        self.greeted(self.ports["direct"], self.context()).close()
        self.assertEqual(declined(), before)
        old = self.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        self.greeted(self.ports["direct"], old).close()
        wait_until(lambda: declined(reason="version") == versions + 1, "the older version is told")
        self.assertEqual(os.stat(self.keys).st_mode & 0o777, 0o600)


class Reload(EndToEndCase):
    """Certificates change under open connections."""

    def test_a_new_certificate_is_shown_and_no_connection_is_lost(self):
        authority = Authority(self.workspace)
        chain, key = authority.issue("front", [DOMAIN])
        echo = SinkNode(self.workspace, "echo", "127.0.0.2").start()
        port = net.free_port()
        balancer = Balancer(self.workspace, {
            "listener": {"tls": {"bind": f"127.0.0.1:{port}", "pool": "echo", "mode": "tls",
                                 "certificates": certificates((chain, key))}},
            "pool": {"echo": {"node": node_tables([echo])}},
        }).start()
        held = []
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for _ in range(20):
                sock = connect(port, client_context(authority.ca_file, version=version))
                read_until(sock, b"\n")
                held.append(sock)
        first = held[0].getpeercert()["serialNumber"]
        authority.issue("front", [DOMAIN])  # the same paths
        balancer.ctl_ok("reload")
        fresh = wait_until(lambda: self.serial_other_than(first, port, authority),
                           "the new certificate is shown")
        self.assertNotEqual(fresh, first)
        for index, sock in enumerate(held):
            sock.sendall(b"still here")
            self.assertEqual(read_until(sock, b"here"), b"still here", index)
        # A key that does not fit is refused as a whole; what runs goes on.
        with open(key, "w", encoding="ascii") as broken:
            broken.write("nonsense")
        done = balancer.ctl("reload")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(key, done.stdout + done.stderr)
        self.assertEqual(self.serial_other_than(first, port, authority), fresh)
        for sock in held:
            sock.close()

    @staticmethod
    def serial_other_than(first, port, authority):
        sock = connect(port, client_context(authority.ca_file))
        serial = sock.getpeercert()["serialNumber"]
        sock.close()
        return serial if serial != first else None


class NodeSide(EndToEndCase):
    """What a node must be before anything is said to it."""

    def test_a_node_that_is_not_who_it_should_be_gets_no_byte(self):
        authority = Authority(self.workspace)
        wrong = authority.issue("wrong", ["elsewhere.example"])
        received = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*wrong)
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            while True:
                try:
                    raw, _ = listener.accept()
                    received.append(context.wrap_socket(raw, server_side=True).recv(100))
                except ssl.SSLError:
                    received.append(b"")
                except OSError:
                    return
        threading.Thread(target=serve, daemon=True).start()
        plain = Recorder("127.0.0.4", answer=b"<not tls/>", answer_after=1)
        ports = {name: net.free_port() for name in ("wrong", "plain")}
        tls = {"tls": "tls", "tls_ca": authority.ca_file, "tls_verify_name": DOMAIN, "retries": 0}
        balancer = Balancer(self.workspace, {
            "listener": {name: {"bind": f"127.0.0.1:{port}", "pool": name}
                         for name, port in ports.items()},
            "pool": {"wrong": {"node": [{"name": "n1", "address":
                                         f"127.0.0.1:{listener.getsockname()[1]}"}], **tls},
                     "plain": {"node": node_tables([plain]), **tls}},
        }).start()
        for name, port in ports.items():
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            try:
                sock.sendall(b"secret words")
            except OSError:
                pass
            self.assertEqual(read_all(sock), b"", name)
            sock.close()
        wait_until(lambda: balancer.metric("mongooselb_ended_total", reason="node_tls_failed") == 2,
                   "both are counted")
        self.assertTrue(all(not words for words in received), received)
        self.assertNotIn(b"secret", bytes(plain.received[0]))
        plain.close()
        listener.close()


if __name__ == "__main__":
    unittest.main()
