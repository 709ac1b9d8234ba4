"""What has broken other servers, over real sockets: zone transfers, TCP and TLS. The cases that need
no socket are in tests/dns/attack_test.cc."""

import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zone

import dns_lib as lib

NAME = "xmpp.example.org"
POOL = lib.pool([("lb1", "198.51.100.1", 100), ("lb2", "198.51.100.2", 100)])


def make_certificates(directory):
    """A CA, a server's and a client's certificate, and a stranger's that signed itself."""
    def openssl(*arguments):
        lib.run(lib.have("openssl"), *arguments)

    def path(name):
        return os.path.join(directory, name)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
            "2", "-subj", "/CN=ca", "-keyout", path("ca.key"), "-out", path("ca.pem"))
    for name in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                f"/CN={name}.test", "-keyout", path(name + ".key"), "-out", path(name + ".csr"))
        openssl("x509", "-req", "-in", path(name + ".csr"), "-CA", path("ca.pem"), "-CAkey",
                path("ca.key"), "-CAcreateserial", "-days", "2", "-out", path(name + ".pem"))
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
            "2", "-subj", "/CN=stranger", "-keyout", path("stranger.key"), "-out",
            path("stranger.pem"))
    for name in ("ca", "server", "client", "stranger"):
        os.chmod(path(name + ".key"), 0o600)


class Case(unittest.TestCase):
    def serve(self, zone_extra="", server_extra=""):
        zone = lib.ZONE.replace("file =", zone_extra + "\nfile =")
        config = lib.BASE + POOL + zone + server_extra
        server = lib.Server(config, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        return server


class Transfers(Case):
    def transfer(self, server, sock=None, **options):
        zone = dns.zone.Zone("example.org", relativize=False)
        query, _ = dns.xfr.make_query(zone, **options)
        messages = []
        owned = sock or lib.tcp_connect(server.port)
        with owned:
            wire = query.to_wire()
            owned.sendall(struct.pack(">H", len(wire)) + wire)
            soas = 0
            while soas < 2:
                body = lib.tcp_message(owned)
                if body is None:
                    break
                message = dns.message.from_wire(body, xfr=True, one_rr_per_rrset=True,
                                                keyring=query.keyring, request_mac=query.mac,
                                                continue_on_error=True)
                messages.append(message)
                if message.rcode() != dns.rcode.NOERROR:
                    break
                soas += sum(1 for r in message.answer if r.rdtype == dns.rdatatype.SOA)
        return messages

    def test_an_allowed_peer_gets_the_zone_and_others_do_not(self):
        server = self.serve('transfer_allow = ["127.0.0.0/8"]')
        zone = dns.zone.from_xfr(dns.query.xfr("127.0.0.1", "example.org", port=server.port,
                                               timeout=5))
        self.assertEqual(str(zone.get_rdataset("www", "AAAA")[0]), "2001:db8::1")
        self.assertEqual(len(zone.get_rdataset("xmpp", "A")), 2)
        self.assertEqual(len(zone.get_rdataset("_xmpp-client._tcp", "SRV")), 2)
        self.assertEqual(lib.run("dig", "@127.0.0.1", "-p", str(server.port), "example.org", "AXFR",
                                 "+short").stdout.count("hostmaster"), 2)
        other = self.serve('transfer_allow = ["192.0.2.0/24"]')
        self.assertEqual(self.transfer(other)[0].rcode(), dns.rcode.REFUSED)
        self.assertEqual(other.metric("mongoosedns_transfers_refused_total"), 1)

    def test_case28_forged_tsig_never_transfers_even_for_an_allowed_peer(self):
        server = self.serve('transfer_allow = ["127.0.0.0/8"]')
        keyring = dns.tsigkeyring.from_text({"key.example.org.": "c2VjcmV0IHNlY3JldCBzZWNyZXQ="})
        query = dns.message.make_query("example.org", "AXFR")
        query.use_tsig(keyring, algorithm=dns.tsig.HMAC_SHA256)
        wire = query.to_wire()
        for _ in range(2):  # the second is a replay
            with lib.tcp_connect(server.port) as sock:
                sock.sendall(struct.pack(">H", len(wire)) + wire)
                body = lib.tcp_message(sock)
            self.assertEqual(body[3] & 15, 9)  # NOTAUTH
            self.assertEqual(struct.unpack(">H", body[6:8])[0], 0)
        self.assertEqual(server.metric("mongoosedns_tsig_refused_total"), 2)

    def test_case28_nsid_and_cookies_over_tcp(self):
        server = self.serve()
        options = [dns.edns.GenericOption(3, b""), dns.edns.GenericOption(10, b"12345678")]
        answer = server.query("www.example.org", tcp=True, use_edns=0, options=options)
        got = {option.otype: option for option in answer.options}
        self.assertEqual(got[3].to_wire(), b"ns1.test")
        self.assertEqual(len(got[10].to_wire()), 24)

    def test_case29_a_transfer_needs_the_demanded_client_certificate(self):
        directory = tempfile.mkdtemp(prefix="mongoosedns-tls-")
        self.addCleanup(shutil.rmtree, directory)
        make_certificates(directory)
        server = self.serve(
            'transfer_allow = ["127.0.0.0/8"]\ntransfer_needs_tls = true',
            f'\n[tls]\nlisten = ["127.0.0.1:@TLS@"]\ncertificate = "{directory}/server.pem"\n'
            f'key = "{directory}/server.key"\ntransfer_client_ca = "{directory}/ca.pem"\n')

        def tls(certificate=None):
            context = ssl.create_default_context(cafile=f"{directory}/ca.pem")
            context.check_hostname = False
            if certificate:
                context.load_cert_chain(f"{directory}/{certificate}.pem",
                                        f"{directory}/{certificate}.key")
            return context.wrap_socket(lib.tcp_connect(server.tls_port))

        self.assertEqual(self.transfer(server)[0].rcode(), dns.rcode.REFUSED)  # plain TCP
        self.assertEqual(self.transfer(server, tls())[0].rcode(), dns.rcode.REFUSED)
        try:
            refused = self.transfer(server, tls("stranger"))
            self.assertTrue(not refused or refused[0].rcode() == dns.rcode.REFUSED)
        except (ssl.SSLError, ConnectionError):
            pass  # refused in the handshake: as good
        messages = self.transfer(server, tls("client"))
        self.assertEqual(messages[0].rcode(), dns.rcode.NOERROR)
        self.assertGreater(sum(len(m.answer) for m in messages), 20)

    def test_case29_large_zones_transfer_in_bounded_messages_and_slow_readers_end(self):
        text = lib.ZONE_TEXT + "".join(
            f'big{i} IN TXT "{"x" * 250}" "{"y" * 250}"\n' for i in range(20_000))
        server = lib.Server(lib.BASE + POOL + lib.ZONE.replace(
            "file =", 'transfer_allow = ["127.0.0.0/8"]\nfile ='), {"example.org.zone": text})
        self.addCleanup(server.stop)
        messages = self.transfer(server)
        self.assertGreater(len(messages), 50)
        self.assertGreater(sum(len(m.answer) for m in messages), 20_000)
        # Eight peers that ask and never read: each is bounded, the ninth is refused, all others live.
        peers = []
        query = dns.message.make_query("example.org", "AXFR").to_wire()
        for _ in range(12):
            sock = lib.tcp_connect(server.port)
            self.addCleanup(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(struct.pack(">H", len(query)) + query)
            peers.append(sock)
        self.assertEqual(len(server.addresses(NAME)), 2)
        lib.wait_for(lambda: server.metric("mongoosedns_transfers_refused_total") >= 1,
                     "transfers are capped")

    def test_case29_a_cut_zone_file_leaves_the_old_zone(self):
        server = self.serve()
        path = os.path.join(server.directory, "example.org.zone")
        with open(path, "w", encoding="utf-8") as file:
            file.write(lib.ZONE_TEXT[:len(lib.ZONE_TEXT) // 2] + "\nbroken IN A 192.0.2.")
        refused = server.ctl("reload", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("example.org.zone:", refused.stdout)
        self.assertEqual(len(server.addresses("www.example.org")), 2)


class Notify(Case):
    def test_secondaries_are_told_until_they_acknowledge(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as secondary:
            secondary.bind(("127.0.0.1", 0))
            secondary.settimeout(10)
            port = secondary.getsockname()[1]
            server = self.serve(f'notify = ["127.0.0.1:{port}"]')
            first, peer = secondary.recvfrom(512)  # not acknowledged: it comes again
            second, peer = secondary.recvfrom(512)
            self.assertEqual(first, second)
            message = dns.message.from_wire(second)
            self.assertEqual(message.opcode(), dns.opcode.NOTIFY)
            self.assertEqual(str(message.question[0].name), "example.org.")
            secondary.sendto(dns.message.make_response(message).to_wire(), peer)
            lib.wait_for(lambda: 'mongoosedns_notify_total{result="acknowledged"} 1' in
                         server.page("/metrics"), "acknowledged", 20)
            before = server.query("example.org", "SOA").answer[0][0].serial
            server.ctl("down", "lb1")
            third, _ = secondary.recvfrom(512)  # what is given out changed
            self.assertEqual(dns.message.from_wire(third).opcode(), dns.opcode.NOTIFY)
            self.assertGreater(server.query("example.org", "SOA").answer[0][0].serial, before)


class Tcp(Case):
    def test_case31_pipelined_queries_are_all_answered(self):
        server = self.serve()
        with lib.tcp_connect(server.port) as sock:
            wire = b""
            for i in range(500):
                message = dns.message.make_query(NAME, "A", id=i)
                body = message.to_wire()
                wire += struct.pack(">H", len(body)) + body
            sock.sendall(wire)
            got = {struct.unpack(">H", lib.tcp_message(sock)[:2])[0] for _ in range(500)}
        self.assertEqual(got, set(range(500)))

    def test_case31_a_flood_that_reads_nothing_and_closes_leaves_the_server_well(self):
        server = self.serve()
        body = dns.message.make_query("txt.example.org", "TXT").to_wire()
        flood = (struct.pack(">H", len(body)) + body) * 2000
        for _ in range(20):
            sock = lib.tcp_connect(server.port)
            sock.settimeout(0.3)
            try:
                for _ in range(20):
                    sock.sendall(flood)
            except OSError:  # our answers are not read, so our queries are not taken
                pass
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        self.assertEqual(len(server.addresses(NAME)), 2)
        with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
            rss = [int(line.split()[1]) for line in status if line.startswith("VmRSS")][0]
        self.assertLess(rss, 200_000)

    def test_case31_queries_clients_and_idle_time_are_bounded(self):
        server = self.serve(server_extra='\n[tcp]\nqueries_per_connection_max = 10\n'
                            'clients_per_address_max = 3\nclients_max = 4\nidle_timeout = "500ms"\n')
        body = dns.message.make_query(NAME, "A").to_wire()
        with lib.tcp_connect(server.port) as sock:
            sock.sendall((struct.pack(">H", len(body)) + body) * 50)
            answers = 0
            try:
                while lib.tcp_message(sock) is not None:
                    answers += 1
            except ConnectionError:
                pass
            self.assertEqual(answers, 10)
        many = [lib.tcp_connect(server.port) for _ in range(6)]
        lib.wait_for(lambda: server.metric(
            'mongoosedns_tcp_closed_total{reason="clients_per_address"}') >= 3, "refused")
        for sock in many:
            sock.close()
        lib.wait_for(lambda: server.metric("mongoosedns_tcp_clients") == 0, "they are gone")
        slow = lib.tcp_connect(server.port)  # drips bytes, never a whole query
        self.addCleanup(slow.close)
        slow.settimeout(0.1)

        def closed():
            try:
                slow.sendall(b"\1")
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        lib.wait_for(closed, "the slow one is closed")
        self.assertGreaterEqual(
            server.metric('mongoosedns_tcp_closed_total{reason="idle"}'), 1)

    def test_case31_early_closes_of_tls_leave_the_server_well(self):
        directory = tempfile.mkdtemp(prefix="mongoosedns-tls-")
        self.addCleanup(shutil.rmtree, directory)
        make_certificates(directory)
        server = self.serve(server_extra=f'\n[tls]\nlisten = ["127.0.0.1:@TLS@"]\n'
                            f'certificate = "{directory}/server.pem"\nkey = "{directory}/server.key"\n')
        context = ssl.create_default_context(cafile=f"{directory}/ca.pem")
        context.check_hostname = False
        hello = ssl.MemoryBIO()
        outgoing = ssl.MemoryBIO()
        half = context.wrap_bio(hello, outgoing, server_hostname="server.test")
        try:
            half.do_handshake()
        except ssl.SSLWantReadError:
            pass
        client_hello = outgoing.read()
        for cut in (0, 1, 5, 50, len(client_hello)):
            for _ in range(5):
                with lib.tcp_connect(server.tls_port) as sock:
                    sock.sendall(client_hello[:cut])
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", os.urandom(3000)):
            with lib.tcp_connect(server.tls_port) as sock:
                sock.sendall(garbage)
        with context.wrap_socket(lib.tcp_connect(server.tls_port)) as sock:
            for name in (NAME, "www.example.org"):
                body = dns.message.make_query(name, "A").to_wire()
                sock.sendall(struct.pack(">H", len(body)) + body)
                answer = dns.message.from_wire(lib.tcp_message(sock))
                self.assertEqual(len(answer.answer[0]), 2)
        result = lib.run("kdig", "+tls", "@127.0.0.1", "-p", str(server.tls_port), NAME, "A")
        self.assertIn("198.51.100.1", result.stdout)
        self.assertIsNone(server.process.poll())


class Hostile(Case):
    def test_case32_hostile_names_are_escaped_in_logs_and_do_not_reach_metrics(self):
        config = lib.BASE.replace("[server]", "[server]\nquery_log_every = 1") + POOL + lib.ZONE
        server = lib.Server(config, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        label = b'<script>alert("x")</script>\n\x1b[31m'
        name = dns.name.Name([label, b"example", b"org", b""])
        self.assertEqual(server.query(name).rcode(), dns.rcode.NXDOMAIN)
        lib.wait_for(lambda: "script" in server.log_text(), "the query is in the log")
        log = server.log_text()
        self.assertNotIn("\x1b", log)
        self.assertFalse([line for line in log.splitlines() if line.startswith("\x1b")])
        self.assertIn("\\010", log.replace("\\\\", "\\"))
        for page in ("/metrics", "/states", "/stats", "/status"):
            self.assertNotIn("script", server.page(page))

    def test_the_admin_pages_survive_garbage(self):
        server = self.serve()
        for garbage in (b"\0" * 1000, b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
                        b"POST /states HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
                        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000):
            with lib.tcp_connect(server.admin_port) as sock:
                try:
                    sock.sendall(garbage)
                    sock.shutdown(socket.SHUT_WR)
                    reply = sock.recv(4096)
                except OSError:  # it hung up on us
                    reply = b""
                self.assertNotIn(b"root:", reply)
        self.assertEqual(server.page("/livez"), "ok\n")


class Storm(unittest.TestCase):
    """A flood from many sources of one network, in a network namespace of its own: the limit holds,
    and a client with a cookie, in the same network, is served."""

    INSIDE = "MONGOOSEDNS_STORM_INSIDE"

    def test_a_storm_is_limited_while_cookie_clients_are_served(self):
        if os.environ.get(self.INSIDE) != "1":
            script = ("ip link set lo up && ip addr add 10.9.0.0/16 dev lo && "
                      "exec /usr/bin/python3 -B -m unittest "
                      "dns_attacks.Storm.test_a_storm_is_limited_while_cookie_clients_are_served")
            result = subprocess.run(["unshare", "--net", "sh", "-c", script],
                                    cwd=os.path.dirname(os.path.abspath(__file__)),
                                    env={**os.environ, self.INSIDE: "1"}, capture_output=True,
                                    text=True, timeout=100)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            return
        server = lib.Server(lib.BASE + POOL + lib.ZONE + '\n[rate_limit]\nresponses = "200/s"\n',
                            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        self.storm(server)

    def storm(self, server):
        target = ("127.0.0.1", server.port)
        query = dns.message.make_query(NAME, "A").to_wire()
        sources = []
        for i in range(1, 201):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((f"10.9.1.{i}", 0))
            sock.setblocking(False)
            self.addCleanup(sock.close)
            sources.append(sock)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.bind(("10.9.1.250", 0))
        client.settimeout(5)

        def ask(cookie):
            message = dns.message.make_query(NAME, "A", use_edns=0,
                                             options=[dns.edns.GenericOption(10, cookie)])
            client.sendto(message.to_wire(), target)
            reply = dns.message.from_wire(client.recv(4096))
            got = [o.to_wire() for o in reply.options if o.otype == 10]
            return reply, got[0]

        _, cookie = ask(b"12345678")
        sent, full, truncated = 0, 0, 0
        for _ in range(100):
            for sock in sources:
                sock.sendto(query, target)
                sent += 1
            reply, cookie = ask(cookie)  # in the middle of the storm
            self.assertEqual(len(reply.answer[0]), 2)
            for sock in sources:
                while True:
                    try:
                        answer = sock.recv(4096)
                    except BlockingIOError:
                        break
                    if answer[2] & 2:
                        truncated += 1
                        self.assertEqual(len(answer), len(query))  # no larger than the query
                    else:
                        full += 1
        self.assertEqual(sent, 20_000)
        self.assertGreater(full, 100)
        self.assertLess(full, 200 + 200 * 60)
        self.assertGreater(server.metric("mongoosedns_rate_limit_dropped_total"), 1000)
        self.assertGreater(truncated, 100)
        self.assertGreaterEqual(server.metric("mongoosedns_cookies_valid_total"), 100)


if __name__ == "__main__":
    unittest.main()
