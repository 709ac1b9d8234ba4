"""mongoosedns as a secondary: zones that it has from Knot, BIND, NSD, or another mongoosedns, with
keys, NOTIFY, differences, a copy on disk, and an end (SERVFAIL) when their time has come."""

import os
import shutil
import signal
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

import dns_lib as lib
import dns_tsig
from dns_tsig import SECRETS

ZONE = "example.net"
KEY = "hmac-sha256"


def zone_text(serial, address, expire=86400, more=""):
    return (f"$TTL 60\n@ IN SOA ns1 hostmaster {serial} 3600 1 {expire} 60\n@ IN NS ns1\n"
            f"ns1 IN A 127.0.0.1\nwww IN A {address}\n*.wild IN A 192.0.2.66\n"
            f'a.b.c IN TXT "below"\nmail IN MX 10 MAIL.Example.NET.\n{more}')


class Primary(dns_tsig.Secondary):
    """Somebody else's server, which has example.net and tells `told` (a port) of its changes."""

    def begin(self, told, serial=1, address="192.0.2.1", **options):
        self.told = told
        self.edit(serial, address, **options)
        self.start()

    def edit(self, serial, address, **options):
        self.write("zone", zone_text(serial, address, **options))

    def stop(self):
        if self.process.poll() is None:
            super().stop()


class Knot(Primary):
    def start(self):
        self.conf = self.write("knot.conf", f"""
server:
    listen: 127.0.0.1@{self.port}
    rundir: {self.directory}
database:
    storage: {self.directory}
log:
  - target: stderr
    any: info
key:
  - id: {KEY}.key
    algorithm: {KEY}
    secret: {SECRETS[KEY]}
remote:
  - id: secondary
    address: 127.0.0.1@{self.told}
    key: {KEY}.key
acl:
  - id: transfer
    key: {KEY}.key
    action: transfer
zone:
  - domain: {ZONE}
    storage: {self.directory}
    file: zone
    notify: secondary
    acl: transfer
    zonefile-load: difference
    journal-content: changes
""")
        self.run(lib.have("knotd"), "-c", self.conf)

    def reload(self):
        subprocess.run([lib.have("knotc"), "-c", self.conf, "zone-reload", ZONE], check=True,
                       capture_output=True, timeout=20)


class Bind(Primary):
    def start(self):
        self.run(lib.have("named"), "-g", "-c", self.write("named.conf", f"""
options {{
    directory "{self.directory}";
    listen-on port {self.port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file "{self.directory}/pid";
    session-keyfile "{self.directory}/session.key";
    recursion no;
    notify-delay 0;
}};
controls {{ }};
key "{KEY}.key" {{ algorithm {KEY}; secret "{SECRETS[KEY]}"; }};
zone "{ZONE}" {{
    type primary;
    file "zone";
    ixfr-from-differences yes;
    notify explicit;
    also-notify {{ 127.0.0.1 port {self.told} key "{KEY}.key"; }};
    allow-transfer {{ key "{KEY}.key"; }};
}};
"""))

    def reload(self):
        self.process.send_signal(signal.SIGHUP)


class Nsd(Primary):
    def start(self):
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
remote-control:
    control-enable: no
key:
    name: "{KEY}.key"
    algorithm: {KEY}
    secret: "{SECRETS[KEY]}"
zone:
    name: "{ZONE}"
    zonefile: "zone"
    notify: 127.0.0.1@{self.told} {KEY}.key
    provide-xfr: 127.0.0.1 {KEY}.key
"""))

    def reload(self):
        self.process.send_signal(signal.SIGHUP)


class Server(dns_tsig.SignedServer):
    """Has its port before the primary is known; that of the primary is filled in."""

    def __init__(self, primary_port, more="", key=f'primary_key = "{KEY}.key"'):
        self.primary_port = primary_port
        config = lib.BASE + '\n[tsig]\nkey_files = "tsig.keys"\n' + f"""
[zone."{ZONE}"]
primary = ["127.0.0.1:@PRIMARY@"]
{key}
{more}
"""
        super().__init__(config)

    def fill(self, text):
        return super().fill(text).replace("@PRIMARY@", str(self.primary_port))

    def zone_state(self):
        return self.states()["zones"][0]["secondary"]

    def soa(self):
        answer = self.query(ZONE, "SOA").answer
        return answer[0][0].serial if answer else None

    def www(self):
        return self.addresses("www." + ZONE)


class Secondary(unittest.TestCase):
    def serve(self, primary_port, **options):
        server = Server(primary_port, **options)
        self.addCleanup(server.stop)
        return server

    def has(self, server, serial, address, what, seconds=15):
        lib.wait_for(lambda: server.soa() == serial and server.www() == [address], what, seconds)

    def follow(self, kind, incremental):
        primary = kind(self, KEY)
        server = self.serve(primary.port)
        self.assertEqual(server.query("www." + ZONE).rcode(), dns.rcode.SERVFAIL)
        primary.begin(server.port)
        self.has(server, 1, "192.0.2.1", "the first transfer")
        answer = server.query("x.wild." + ZONE)
        self.assertTrue(answer.flags & dns.flags.AA)
        self.assertEqual(answer.answer[0][0].address, "192.0.2.66")
        self.assertEqual(server.query("b.c." + ZONE).rcode(), dns.rcode.NOERROR)
        for serial in (2, 3, 4):
            began = time.monotonic()
            primary.edit(serial, f"192.0.2.{serial}", more=f"n{serial} IN A 192.0.2.9\n")
            primary.reload()
            self.has(server, serial, f"192.0.2.{serial}", f"edit {serial}")
            self.assertLess(time.monotonic() - began, 12, "the SOA's refresh is an hour")
            gone = server.query(f"n{serial - 1}." + ZONE).rcode()
            self.assertEqual(gone, dns.rcode.NXDOMAIN)
        state = server.zone_state()
        self.assertEqual((state["state"], state["failures"] > 0), ("fresh", True))
        if incremental:
            self.assertGreaterEqual(state["incremental"], 2, server.log_text())
        taken = server.metric('mongoosedns_notify_received_total{result="taken"}')
        self.assertGreaterEqual(taken, 3)
        return primary, server

    def test_knot_is_followed_by_its_differences(self):
        self.follow(Knot, True)

    def test_bind_is_followed_by_its_differences(self):
        self.follow(Bind, True)

    def test_nsd_is_followed(self):
        self.follow(Nsd, False)

    def test_a_restart_serves_the_copy_and_an_old_copy_is_servfail(self):
        primary = Knot(self, KEY)
        server = self.serve(primary.port)
        primary.begin(server.port, expire=8)
        self.has(server, 1, "192.0.2.1", "the first transfer")
        primary.stop()
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(15)
        server.start()
        self.assertEqual((server.soa(), server.www()), (1, ["192.0.2.1"]))
        self.assertEqual(server.zone_state()["state"], "fresh")
        lib.wait_for(lambda: server.query("www." + ZONE).rcode() == dns.rcode.SERVFAIL,
                     "it expires", 20)
        self.assertEqual(server.zone_state()["state"], "expired")
        self.assertIn("expired", server.log_text())
        server.process.terminate()
        server.process.wait(15)
        server.start()
        self.assertEqual(server.query("www." + ZONE).rcode(), dns.rcode.SERVFAIL)
        refused = server.ctl("explain", "www." + ZONE, check=False)
        self.assertEqual(refused.returncode, 3)
        primary.start()
        self.has(server, 1, "192.0.2.1", "the primary is back", 30)
        self.assertEqual(server.zone_state()["confirmed"], 1, "nothing had to be transferred")

    def test_a_wrong_key_gets_nothing_and_forged_notifies_do_nothing(self):
        primary = Knot(self, KEY)
        server = self.serve(primary.port, key='primary_key = "hmac-sha512.key"')
        primary.begin(server.port)
        lib.wait_for(lambda: server.zone_state()["failures"] >= 2, "it is refused")
        self.assertEqual(server.zone_state()["state"], "loading")
        self.assertIn("127.0.0.1", server.zone_state()["last_error"])
        self.assertEqual(server.query("www." + ZONE).rcode(), dns.rcode.SERVFAIL)

        def notify(zone=ZONE, algorithm=None, secret=None):
            message = dns.message.make_query(zone, "SOA")
            message.set_opcode(dns.opcode.NOTIFY)
            message.flags |= dns.flags.AA
            if algorithm:
                message.use_tsig(dns_tsig.keyring(algorithm, secret), algorithm=algorithm + ".")
            return dns.query.udp(message, "127.0.0.1", port=server.port, timeout=5)

        self.assertEqual(notify().rcode(), dns.rcode.REFUSED)
        self.assertEqual(notify(algorithm=KEY).rcode(), dns.rcode.REFUSED)  # of another zone's key
        good = notify(algorithm="hmac-sha512")
        self.assertEqual((good.rcode(), good.had_tsig), (dns.rcode.NOERROR, True))
        self.assertTrue(good.flags & dns.flags.AA)
        self.assertEqual(notify("other.example", algorithm="hmac-sha512").rcode(), dns.rcode.NOTAUTH)
        with self.assertRaises(dns.exception.DNSException):
            notify(algorithm="hmac-sha512", secret=SECRETS[KEY])
        # The right key at last.
        with open(server.config_path, encoding="utf-8") as file:
            text = file.read()
        server.write("mongoosedns.toml", text.replace('"hmac-sha512.key"', f'"{KEY}.key"'))
        server.reload()
        self.has(server, 1, "192.0.2.1", "the right key")

    def test_the_operator_can_ask_at_once_and_for_all(self):
        primary = Bind(self, KEY)
        server = self.serve(primary.port)
        primary.begin(1)  # nobody is told
        server.ctl("refresh", ZONE)
        self.has(server, 1, "192.0.2.1", "the first transfer")
        before = server.zone_state()
        server.ctl("refresh", ZONE)
        lib.wait_for(lambda: server.zone_state()["confirmed"] == before["confirmed"] + 1, "asked")
        server.ctl("retransfer", ZONE)
        lib.wait_for(lambda: server.zone_state()["transfers"] == before["transfers"] + 1, "all of it")
        self.assertEqual(server.soa(), 1, "the same content keeps its serial")
        refused = server.ctl("refresh", "no.example", check=False)
        self.assertEqual(refused.returncode, 3)
        states = subprocess.run([lib.PROGRAM, "ctl", "--socket", server.ctl_socket, "states"],
                                capture_output=True, text=True, timeout=20).stdout
        self.assertIn("zone example.net.  fresh  serial 1", states)

    def test_a_key_here_signs_what_is_had_unsigned_and_challenges_stand_beside_it(self):
        primary = Knot(self, KEY)
        server = Server.__new__(Server)
        directory = tempfile.mkdtemp(prefix="keys-")
        self.addCleanup(shutil.rmtree, directory, True)
        subprocess.run([lib.PROGRAM, "keygen", ZONE], cwd=directory, check=True,
                       capture_output=True, timeout=20)
        key = next(f for f in os.listdir(directory) if f.endswith(".private"))
        server.__init__(primary.port, more=f'key = "{os.path.join(directory, key)}"')
        self.addCleanup(server.stop)
        primary.begin(server.port)
        self.has(server, 1, "192.0.2.1", "the first transfer")
        answer = server.query("www." + ZONE, want_dnssec=True)
        self.assertIn(dns.rdatatype.RRSIG, [rrset.rdtype for rrset in answer.answer])
        server.ctl("acme", "set", ZONE, "token")
        self.assertGreater(server.soa(), 1)
        last = server.soa()
        primary.edit(2, "192.0.2.2")
        primary.reload()
        lib.wait_for(lambda: server.www() == ["192.0.2.2"], "the edit")
        self.assertGreater(server.soa(), last, "a serial never goes back")
        texts = [r.strings for s in server.query("_acme-challenge." + ZONE, "TXT").answer for r in s]
        self.assertEqual(texts, [(b"token",)])

    def test_a_zone_that_is_signed_at_its_primary_is_refused_in_words(self):
        primary = Knot(self, KEY)
        server = self.serve(primary.port)
        primary.told = server.port
        primary.edit(1, "192.0.2.1")
        real_write = primary.write
        primary.write = lambda name, text: real_write(
            name, text.replace("    zonefile-load", "    dnssec-signing: on\n    zonefile-load"))
        primary.start()
        lib.wait_for(lambda: "signed at its primary" in server.zone_state()["last_error"], "refused")
        self.assertEqual(server.query("www." + ZONE).rcode(), dns.rcode.SERVFAIL)

    def test_a_chain_of_two_of_ours(self):
        """One is the primary, with a pool; the other has its zone from it."""
        config = (lib.BASE + lib.pool([("lb1", "198.51.100.1", 100), ("lb2", "198.51.100.2", 100)]) +
                  '\n[tsig]\nkey_files = "tsig.keys"\n' +
                  lib.ZONE.replace("example.org", ZONE).replace(f"{ZONE}.zone", "zone"))
        second = Server(1)  # its port is wanted first
        self.addCleanup(second.stop)
        config += (f'[[zone."{ZONE}".secondary]]\nkey = "{KEY}.key"\n'
                   f'notify = "127.0.0.1:{second.port}"\n')
        first = dns_tsig.SignedServer(config, {"zone": zone_text(7, "192.0.2.1")})
        self.addCleanup(first.stop)
        with open(second.config_path, encoding="utf-8") as file:
            text = file.read()
        second.write("mongoosedns.toml", text.replace('"127.0.0.1:1"', f'"127.0.0.1:{first.port}"'))
        second.reload()
        self.has(second, first.query(ZONE, "SOA").answer[0][0].serial, "192.0.2.1", "transferred")
        self.assertEqual(len(second.addresses("xmpp." + ZONE)), 2)
        for order, left in (("down", 1), ("auto", 2)):
            first.ctl(order, "lb1")
            lib.wait_for(lambda: len(second.addresses("xmpp." + ZONE)) == left and second.soa() ==
                         first.query(ZONE, "SOA").answer[0][0].serial, order)


class Mistakes(unittest.TestCase):
    def test_what_a_secondary_zone_cannot_have_is_told_with_its_line(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "c.toml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f'[server]\nlisten = ["127.0.0.1:1"]\n[zone."{ZONE}"]\n'
                           'primary = ["nonsense"]\nprimary_key = "nobody"\nrecords = ["x"]\n'
                           'ttl = 5\n')
            result = subprocess.run([lib.PROGRAM, "check", path], capture_output=True, text=True,
                                    timeout=20)
        self.assertEqual(result.returncode, 1)
        for line, what in ((4, "nonsense"), (5, "nobody"), (6, "had from a primary"),
                           (7, "had from a primary")):
            self.assertRegex(result.stderr, f"c.toml:{line}: .*{what}")
        self.assertIn("state_file", result.stderr)


if __name__ == "__main__":
    unittest.main()
