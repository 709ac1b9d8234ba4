"""Transaction signatures (RFC 8945) end to end: dnspython as a client, and Knot, NSD and BIND as
secondaries that follow health changes, edits, restarts and kill -9 with keys."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.wire
import dns.xfr
import dns.zone

import dns_lib as lib

NAME = "xmpp.example.org"
SECRETS = {"hmac-sha256": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=",
           "hmac-sha384": "bXkgc2VjcmV0IGlzIHRoYXQgSSBoYXZlIG5vIHNlY3JldCBhdCBhbGwuLi4=",
           "hmac-sha512": "YW5vdGhlciBzZWNyZXQsIGxvbmcgZW5vdWdoIGZvciBTSEEtNTEyIGFuZCBtb3Jl"}
KEYS = "".join(f'key "{a}.key" {{ algorithm {a}; secret "{s}"; }};\n' for a, s in SECRETS.items())


def key_file(directory, name="tsig.keys", text=KEYS, mode=0o600):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


class SignedServer(lib.Server):
    """A server with a key for each algorithm."""

    def write(self, name, text):
        key_file(self.directory)
        return super().write(name, text)


def serve(case, zone_lines, pool=None, zone_text=lib.ZONE_TEXT):
    config = lib.BASE + (pool or lib.pool([("lb1", "198.51.100.1", 100)]))
    config += '\n[tsig]\nkey_files = "tsig.keys"\n'
    lines = zone_lines.splitlines(keepends=True)
    own = "".join(l for l in lines if l.startswith("acme_keys"))
    tables = "".join(l for l in lines if not l.startswith("acme_keys"))
    config += lib.ZONE.replace('file = "example.org.zone"\n',
                               'file = "example.org.zone"\n' + own) + tables
    server = SignedServer(config, {"example.org.zone": zone_text})
    case.addCleanup(server.stop)
    return server


def secondary(**entry):
    lines = '[[zone."example.org".secondary]]\n'
    for key, value in entry.items():
        lines += f'{key if key != "networks" else "from"} = {value}\n'
    return lines


def keyring(algorithm, secret=None):
    return dns.tsigkeyring.from_text({algorithm + ".key.": secret or SECRETS[algorithm]})


def axfr(server, ring=None, algorithm=None):
    options = {} if ring is None else {"keyring": ring, "keyalgorithm": algorithm + "."}
    messages = list(dns.query.xfr("127.0.0.1", "example.org", port=server.port, lifetime=10,
                                  **options))
    return sum(len(rrset) for message in messages for rrset in message.answer)


class Client(unittest.TestCase):
    def test_each_algorithm_transfers_and_nothing_else_does(self):
        for algorithm in SECRETS:
            with self.subTest(algorithm):
                server = serve(self, secondary(key=f'"{algorithm}.key"'))
                self.assertGreater(axfr(server, keyring(algorithm), algorithm), 20)
                with self.assertRaises(dns.query.TransferError):
                    axfr(server)
                with self.assertRaises(dns.exception.DNSException):
                    axfr(server, keyring(algorithm, SECRETS["hmac-sha256"][::-1][1:] + "A"), algorithm)
                other = "hmac-sha512" if algorithm != "hmac-sha512" else "hmac-sha256"
                with self.assertRaises(dns.query.TransferError):
                    axfr(server, keyring(other), other)  # a key of ours, of another secondary

    def ask(self, server, packet, tcp=True):
        if tcp:
            with lib.tcp_connect(server.port) as sock:
                sock.sendall(len(packet).to_bytes(2, "big") + packet)
                return lib.tcp_message(sock)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(packet, ("127.0.0.1", server.port))
            return sock.recv(65535)

    def tsig_error(self, reply):
        """(rcode, TSIG error, size of the MAC), read by hand: dnspython raises."""
        parser = dns.wire.Parser(reply)
        _, flags, questions, answers, authority, additional = parser.get_struct("!6H")
        for _ in range(questions):
            parser.get_name()
            parser.get_bytes(4)
        for _ in range(answers + authority + additional):
            parser.get_name()
            kind, _, _, size = parser.get_struct("!HHIH")
            rdata = dns.wire.Parser(parser.get_bytes(size))
        self.assertEqual((kind, parser.remaining()), (dns.rdatatype.TSIG, 0))
        rdata.get_name()
        rdata.get_bytes(8)  # time and fudge
        mac = rdata.get_bytes(rdata.get_uint16())
        rdata.get_uint16()  # the query's id
        return flags & 15, rdata.get_uint16(), len(mac)

    def test_recorded_late_truncated_and_unknown_signatures_get_the_errors_of_the_rfc(self):
        server = serve(self, secondary(key='"hmac-sha256.key"'))
        query = dns.message.make_query("example.org", "AXFR")
        query.use_tsig(keyring("hmac-sha256"), algorithm=dns.tsig.HMAC_SHA256)
        packet = query.to_wire()
        first = self.ask(server, packet)
        self.assertEqual(first[3] & 15, 0)
        replayed = self.ask(server, packet)
        self.assertEqual(replayed[3] & 15, dns.rcode.REFUSED)
        self.assertEqual(int.from_bytes(replayed[6:8], "big"), 0)
        # A known name with another secret.
        forged = dns.message.make_query("example.org", "AXFR")
        forged.use_tsig(keyring("hmac-sha256", "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmc="),
                        algorithm=dns.tsig.HMAC_SHA256)
        self.assertEqual(self.tsig_error(self.ask(server, forged.to_wire())),
                         (dns.rcode.NOTAUTH, 16, 0))
        unknown = dns.message.make_query("example.org", "AXFR")
        unknown.use_tsig(dns.tsigkeyring.from_text({"nobody.": SECRETS["hmac-sha256"]}),
                         algorithm=dns.tsig.HMAC_SHA256)
        self.assertEqual(self.tsig_error(self.ask(server, unknown.to_wire())),
                         (dns.rcode.NOTAUTH, 17, 0))
        # Signed ten minutes ago: the answer is signed and says the server's time.
        late = dns.message.make_query("example.org", "SOA")
        late.use_tsig(keyring("hmac-sha256"), algorithm=dns.tsig.HMAC_SHA256)
        real = time.time
        time.time = lambda: real() - 600
        try:
            packet = late.to_wire()
        finally:
            time.time = real
        self.assertEqual(self.tsig_error(self.ask(server, packet, tcp=False)),
                         (dns.rcode.NOTAUTH, 18, 32))
        # The MAC cut to half.
        good = dns.message.make_query("example.org", "SOA")
        good.use_tsig(keyring("hmac-sha256"), algorithm=dns.tsig.HMAC_SHA256)
        packet = bytearray(good.to_wire())
        mac_at = len(packet) - 6 - 32
        del packet[mac_at + 16:mac_at + 32]
        packet[mac_at - 2:mac_at] = (16).to_bytes(2, "big")
        # class, TTL and size stand before the algorithm (13 bytes), time (6), fudge (2), MAC size
        rdlen_at = mac_at - 2 - 2 - 6 - 13 - 2
        size = int.from_bytes(packet[rdlen_at:rdlen_at + 2], "big")
        packet[rdlen_at:rdlen_at + 2] = (size - 16).to_bytes(2, "big")
        self.assertEqual(self.tsig_error(self.ask(server, bytes(packet))),
                         (dns.rcode.NOTAUTH, 22, 32))
        self.assertGreaterEqual(server.metric("mongoosedns_tsig_refused_total"), 4)

    def test_answers_to_signed_queries_are_signed(self):
        server = serve(self, "")
        for algorithm in SECRETS:
            for ask in (dns.query.udp, dns.query.tcp):
                query = dns.message.make_query("www.example.org", "A", use_edns=0)
                query.use_tsig(keyring(algorithm), algorithm=algorithm + ".")
                answer = ask(query, "127.0.0.1", port=server.port, timeout=5)  # it verifies
                self.assertTrue(answer.had_tsig)
                self.assertEqual(answer.rcode(), dns.rcode.NOERROR)

    def test_a_key_file_that_others_may_read_is_a_mistake(self):
        with tempfile.TemporaryDirectory() as directory:
            key_file(directory, mode=0o644)
            server = lib.Server.__new__(lib.Server)
            server.directory, server.port, server.admin_port, server.tls_port = directory, 1, 2, 3
            for name, text in (("example.org.zone", lib.ZONE_TEXT), ("c.toml", server.fill(
                    lib.BASE + lib.pool([("lb1", "198.51.100.1", 1)]) +
                    '\n[tsig]\nkey_files = "tsig.keys"\n' + lib.ZONE +
                    secondary(key='"no-such.key"')))):
                with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                    file.write(text)
            result = subprocess.run([lib.PROGRAM, "check", os.path.join(directory, "c.toml")],
                                    capture_output=True, text=True, timeout=20)
        self.assertEqual(result.returncode, 1)
        self.assertIn("chmod 600", result.stderr)
        self.assertIn("no-such.key", result.stderr)
        for secret in SECRETS.values():
            self.assertNotIn(secret, result.stderr)


class Secondary:
    """Somebody else's server, which transfers example.org from `primary` with a key."""

    def __init__(self, case, algorithm):
        self.directory = tempfile.mkdtemp(prefix="secondary-")
        case.addCleanup(shutil.rmtree, self.directory, True)
        self.port = lib.free_port()
        self.algorithm = algorithm
        self.case = case
        self.process = None

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run(self, *command):
        self.log = open(os.path.join(self.directory, "log"), "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log,
                                        cwd=self.directory)
        self.case.addCleanup(self.stop)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def soa(self):
        query = dns.message.make_query("example.org", "SOA")
        answer = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=2)
        return answer.answer[0][0].serial

    def addresses(self):
        query = dns.message.make_query(NAME, "A")
        answer = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=2)
        return sorted(r.address for rrset in answer.answer for r in rrset)


class Knot(Secondary):
    def start(self, primary):
        secret = SECRETS[self.algorithm]
        self.run(lib.have("knotd"), "-c", self.write("knot.conf", f"""
server:
    listen: 127.0.0.1@{self.port}
    rundir: {self.directory}
database:
    storage: {self.directory}
log:
  - target: stderr
    any: info
key:
  - id: {self.algorithm}.key
    algorithm: {self.algorithm}
    secret: {secret}
remote:
  - id: primary
    address: 127.0.0.1@{primary.port}
    key: {self.algorithm}.key
acl:
  - id: told
    address: 127.0.0.1
    key: {self.algorithm}.key
    action: notify
zone:
  - domain: example.org
    storage: {self.directory}
    file: zone
    master: primary
    acl: told
"""))


class Nsd(Secondary):
    style = "AXFR "  # "": IXFR where it can
    def start(self, primary):
        self.run(lib.have("nsd"), "-d", "-c", self.write("nsd.conf", f"""
server:
    ip-address: 127.0.0.1@{self.port}
    username: ""
    zonesdir: "{self.directory}"
    database: ""
    pidfile: "{self.directory}/pid"
    xfrdfile: "{self.directory}/xfrd.state"
    xfrdir: "{self.directory}"
    zonelistfile: "{self.directory}/zone.list"
    server-count: 1
    xfrd-reload-timeout: 0
    rrl-ratelimit: 0
remote-control:
    control-enable: no
key:
    name: "{self.algorithm}.key"
    algorithm: {self.algorithm}
    secret: "{SECRETS[self.algorithm]}"
zone:
    name: "example.org"
    zonefile: "zone"
    request-xfr: {self.style}127.0.0.1@{primary.port} {self.algorithm}.key
    allow-notify: 127.0.0.1 {self.algorithm}.key
"""))


class Bind(Secondary):
    def start(self, primary):
        self.run(lib.have("named"), "-g", "-c", self.write("named.conf", f"""
options {{
    directory "{self.directory}";
    listen-on port {self.port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file "{self.directory}/pid";
    session-keyfile "{self.directory}/session.key";
    recursion no;
    notify no;
    min-refresh-time 1;
}};
controls {{ }};
key "{self.algorithm}.key" {{ algorithm {self.algorithm}; secret "{SECRETS[self.algorithm]}"; }};
zone "example.org" {{
    type secondary;
    file "zone";
    primaries {{ 127.0.0.1 port {primary.port} key "{self.algorithm}.key"; }};
}};
"""))


class Secondaries(unittest.TestCase):
    def follow(self, kind, algorithm, changes=10):
        balancers = [lib.Balancer("127.0.0.2")]
        balancers.append(lib.Balancer("127.0.0.3", balancers[0].port))
        for balancer in balancers:
            self.addCleanup(balancer.stop)
        other = kind(self, algorithm)
        server = serve(self, secondary(key=f'"{algorithm}.key"', notify=f'"127.0.0.1:{other.port}"',
                                       networks='["127.0.0.1"]'),
                       lib.pool([("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.3", 100)],
                                check=lib.status_check(balancers[0].port)))
        lib.wait_for(lambda: len(server.addresses(NAME)) == 2 and
                     server.balancer_state("lb1")["standing"] == "up", "both are up")
        other.start(server)

        def primary_serial():
            return server.query("example.org", "SOA").answer[0][0].serial

        def in_step(what):
            lib.wait_for(lambda: other.soa() == primary_serial() and
                         other.addresses() == sorted(server.addresses(NAME)), what, 30)

        in_step("the first transfer")
        last = primary_serial()
        for i in range(changes):
            balancers[0].reply["nodes_up"] = 0 if i % 2 == 0 else 3
            lib.wait_for(lambda: len(server.addresses(NAME)) == (1 if i % 2 == 0 else 2),
                         f"change {i}")
            in_step(f"change {i} is followed")
            self.assertGreater(primary_serial(), last)
            last = primary_serial()
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(15)
        server.start()
        self.assertEqual(primary_serial(), last)
        balancers[0].reply["nodes_up"] = 0
        lib.wait_for(lambda: len(server.addresses(NAME)) == 1, "a change after kill -9")
        in_step("the change after kill -9 is followed")
        server.write("example.org.zone", lib.ZONE_TEXT + "edited IN A 192.0.2.200\n")
        server.reload()
        in_step("the edit is followed")
        self.assertGreater(primary_serial(), last)
        server.ctl("acme", "set", "example.org", "token")
        in_step("the challenge is followed")
        lib.wait_for(lambda: server.metric('mongoosedns_notify_total{result="acknowledged"}') >= 2,
                     "the acknowledgements")

    def test_knot_follows_with_a_key(self):
        self.follow(Knot, "hmac-sha512")

    def test_nsd_follows_with_a_key(self):
        self.follow(Nsd, "hmac-sha256")

    def test_bind_follows_with_a_key(self):
        self.follow(Bind, "hmac-sha384")


if __name__ == "__main__":
    unittest.main()
