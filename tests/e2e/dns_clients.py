"""Real clients against mongoosedns: dig, kdig, drill, delv, dnsviz, dnspython, npm's dns-packet, and
Unbound as a validating resolver in front."""

import collections
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype

import dns_lib as lib

HERE = os.path.dirname(os.path.abspath(__file__))


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = tempfile.mkdtemp(prefix="mongoosedns-keys-")
        path, cls.ds, cls.dnskey = lib.make_key(cls.keys)
        config = lib.BASE + lib.pool([("lb1", "198.51.100.1", 100), ("lb2", "198.51.100.2", 100),
                                      ("lb3", "198.51.100.3", 100)])
        config += lib.ZONE.replace('file =', f'key = "{path}"\nfile =')
        config += '\n[rate_limit]\nresponses = "0"\n'
        cls.server = lib.Server(config, {"example.org.zone": lib.ZONE_TEXT})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        shutil.rmtree(cls.keys)

    def dig(self, *arguments):
        return lib.run(lib.have("dig"), "@127.0.0.1", "-p", str(self.server.port), "+time=3",
                       "+tries=1", *arguments).stdout

    # --- dig

    def test_dig_sees_answer_flags_nsid_and_cookie(self):
        text = self.dig("www.example.org", "A", "+nsid", "+cookie")
        self.assertIn("status: NOERROR", text)
        self.assertRegex(text, r"flags: qr aa rd;")
        self.assertIn("192.0.2.1", text)
        self.assertIn("192.0.2.2", text)
        self.assertIn("ns1.test", text)
        self.assertIn("(good)", text)
        self.assertNotIn("WARNING: Message", text)

    def test_dig_over_tcp_any_chaos_and_negative_answers(self):
        self.assertIn("RFC8482", self.dig("www.example.org", "ANY"))
        self.assertIn("192.0.2.1", self.dig("+tcp", "www.example.org", "A"))
        self.assertIn('"mongoosedns"', self.dig("version.bind", "TXT", "CH", "+short"))
        self.assertIn("status: NXDOMAIN", self.dig("missing.example.org", "A"))
        self.assertIn("status: REFUSED", self.dig("www.example.com", "A"))
        self.assertIn("status: BADVERS", self.dig("www.example.org", "A", "+edns=1", "+noednsneg"))

    def test_dig_sees_srv_with_addresses_of_the_targets(self):
        text = self.dig("_xmpp-client._tcp.example.org", "SRV")
        for i in (1, 2, 3):
            self.assertIn(f"5222 lb{i}.xmpp.example.org.", text)
            self.assertRegex(text, rf"lb{i}.xmpp.example.org.\s+\d+\s+IN\s+A\s+198.51.100.{i}")

    def test_dig_sees_every_type(self):
        for name, rdtype, expected in (
                ("example.org", "MX", "10 mail.example.org."),
                ("example.org", "NS", "ns1.example.org."),
                ("txt.example.org", "TXT", '"hello world"'),
                ("caa.example.org", "CAA", '0 issue "ca.example.net"'),
                ("_443._tcp.www.example.org", "TLSA", "3 1 1"),
                ("https.example.org", "HTTPS", 'alpn="h2"'),
                ("ptr.example.org", "PTR", "www.example.org."),
                ("www.example.org", "AAAA", "2001:db8::1"),
                ("example.org", "CDS", "13 2"), ("example.org", "CDNSKEY", "257 3 13")):
            self.assertIn(expected, self.dig("+short", name, rdtype), (name, rdtype))

    # --- kdig, drill

    def test_kdig_over_udp_tcp_with_cookie_and_padding(self):
        for extra in ((), ("+tcp",), ("+cookie",), ("+dnssec",)):
            text = lib.run(lib.have("kdig"), "@127.0.0.1", "-p", str(self.server.port),
                           "www.example.org", "A", *extra).stdout
            self.assertIn("status: NOERROR", text)
            self.assertIn("192.0.2.1", text)
            self.assertNotIn("WARNING", text)

    def test_drill_verifies_with_the_key(self):
        anchor = os.path.join(self.keys, "anchor")
        with open(anchor, "w", encoding="utf-8") as file:
            file.write(self.dnskey.replace(" IN DNSKEY", " 3600 IN DNSKEY") + "\n")
        for name in ("www.example.org", "xmpp.example.org"):
            text = lib.run(lib.have("drill"), "-D", "-k", anchor, "-p", str(self.server.port),
                           "@127.0.0.1", name, "A").stdout
            self.assertIn("rcode: NOERROR", text)
            self.assertIn("RRSIG", text)

    # --- delv, validating

    def delv(self, name, rdtype):
        anchor = os.path.join(self.keys, "delv.anchor")
        parts = self.dnskey.split()
        with open(anchor, "w", encoding="utf-8") as file:
            file.write(f'trust-anchors {{ example.org. static-key {parts[3]} {parts[4]} '
                       f'{parts[5]} "{parts[6]}"; }};\n')
        return lib.run(lib.have("delv"), "@127.0.0.1", "-p", str(self.server.port), "-a", anchor,
                       "+root=example.org", name, rdtype, check=False)

    def test_delv_validates_answers(self):
        for name, rdtype in (("www.example.org", "A"), ("xmpp.example.org", "A"),
                             ("_xmpp-client._tcp.example.org", "SRV"), ("alias.example.org", "A"),
                             ("a.b.wild.example.org", "A"), ("example.org", "DNSKEY")):
            result = self.delv(name, rdtype)
            self.assertIn("; fully validated", result.stdout, (name, result.stdout, result.stderr))

    def test_delv_validates_secure_denial(self):
        for name, rdtype in (("www.example.org", "TXT"), ("missing.example.org", "A"),
                             ("very.deep.missing.example.org", "A"), ("sub.example.org", "DS")):
            result = self.delv(name, rdtype)
            self.assertIn("; negative response, fully validated", result.stdout + result.stderr,
                          (name, result.stdout, result.stderr))

    # --- dnsviz

    def test_dnsviz_finds_no_error(self):
        probe = os.path.join(self.keys, "probe.json")
        port = self.server.port
        lib.run(lib.have("dnsviz"), "probe", "-A", "-d", "0", "-x",
                f"example.org+:ns1.example.org=127.0.0.1:{port}", "-a", "example.org", "-o", probe,
                "example.org", "www.example.org", "xmpp.example.org", timeout=120)
        anchor = os.path.join(self.keys, "viz.anchor")
        with open(anchor, "w", encoding="utf-8") as file:
            file.write(self.dnskey + "\n")
        # Debian's pygraphviz has lost the module that dnsviz reads its version from; the program is
        # started with that module put back.
        grok = ("import sys, types, pygraphviz; release = types.ModuleType('pygraphviz.release'); "
                "release.version = pygraphviz.__version__; pygraphviz.release = release; "
                "sys.modules['pygraphviz.release'] = release; "
                "from dnsviz.commands import grok; grok.main(['grok'] + sys.argv[1:])")
        result = lib.run("/usr/bin/python3", "-c", grok, "-r", probe, "-t", anchor, "-l", "info",
                         timeout=120)
        report = json.loads(result.stdout or "{}")
        errors = []

        def collect(node, path):
            if isinstance(node, dict):
                errors.extend((path, e) for e in node.get("errors", []))
                for key, value in node.items():
                    collect(value, path + "/" + key)
            elif isinstance(node, list):
                for value in node:
                    collect(value, path)

        collect(report, "")
        self.assertEqual(errors, [])
        # That nothing is wrong is worth something only where something was judged.
        for name in ("example.org.", "www.example.org.", "xmpp.example.org."):
            self.assertIn(name, report)
            self.assertIn('"SECURE"', json.dumps(report[name]), name)

    # --- dnspython

    def test_dnspython_validates_by_itself(self):
        zone = dns.name.from_text("example.org.")
        keys = self.server.query(zone, "DNSKEY", want_dnssec=True, tcp=True)
        rrset, rrsig = keys.answer
        trusted = {zone: rrset}
        dns.dnssec.validate(rrset, rrsig, trusted)
        for name, rdtype in (("www.example.org.", "A"), ("xmpp.example.org.", "A"),
                             ("a.b.wild.example.org.", "A")):
            answer = self.server.query(name, rdtype, want_dnssec=True).answer
            dns.dnssec.validate(answer[0], answer[1], trusted)
        missing = self.server.query("missing.example.org.", want_dnssec=True)
        self.assertEqual(missing.rcode(), dns.rcode.NOERROR)
        sets = {(r.rdtype, r.covers): r for r in missing.authority}
        nsec = sets[(dns.rdatatype.NSEC, 0)]
        self.assertEqual(str(nsec.name), "missing.example.org.")
        dns.dnssec.validate(nsec, sets[(dns.rdatatype.RRSIG, dns.rdatatype.NSEC)], trusted)

    def test_the_same_order_does_not_come_again_and_again(self):
        firsts = collections.Counter(self.server.addresses("xmpp.example.org")[0]
                                     for _ in range(300))
        self.assertEqual(len(firsts), 3)
        for count in firsts.values():
            self.assertGreater(count, 60)

    # --- npm dns-packet

    def test_npm_dns_packet_reads_our_answers(self):
        folder = os.path.join(HERE, "dns_js")
        modules = os.path.join(folder, "node_modules")
        if not os.path.isdir(modules):
            shutil.copy(os.path.join(folder, "package.json"), self.keys)
            shutil.copy(os.path.join(folder, "package-lock.json"), self.keys)
            lib.run(lib.have("npm"), "ci", "--no-audit", "--no-fund", "--prefix", self.keys,
                    timeout=180)
            modules = os.path.join(self.keys, "node_modules")
        result = lib.run(lib.have("node"), os.path.join(folder, "dns_packet_query.js"),
                         str(self.server.port), env={**os.environ, "NODE_PATH": modules})
        answers = json.loads(result.stdout)
        self.assertEqual(sorted(answers["A"]),
                         ["198.51.100.1", "198.51.100.2", "198.51.100.3"])
        self.assertEqual({a["port"] for a in answers["SRV"]}, {5222})
        self.assertEqual(answers["NX"], "NXDOMAIN")


class ThroughUnbound(unittest.TestCase):
    """A validating resolver in front: it accepts our signatures and passes the balance on."""

    def test_unbound_validates_and_balances(self):
        keys = tempfile.mkdtemp(prefix="mongoosedns-unbound-")
        path, _, dnskey = lib.make_key(keys, algorithm="ed25519")
        config = lib.BASE + lib.pool([(f"lb{i}", f"198.51.100.{i}", 100) for i in range(1, 5)],
                                     extra="")
        config = config.replace("ttl_max = 60", "ttl_max = 1").replace("ttl_min = 1", "ttl_min = 0")
        config += lib.ZONE.replace('file =', f'key = "{path}"\nfile =')
        server = lib.Server(config, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        self.addCleanup(shutil.rmtree, keys)
        port = lib.free_port()
        unbound_conf = os.path.join(keys, "unbound.conf")
        with open(unbound_conf, "w", encoding="utf-8") as file:
            file.write(f"""
server:
  interface: 127.0.0.1@{port}
  port: {port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{keys}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor: "{dnskey}"
  cache-max-ttl: 0
  rrset-roundrobin: no
remote-control:
  control-enable: no
stub-zone:
  name: "example.org"
  stub-addr: 127.0.0.1@{server.port}
""")
        log = open(os.path.join(keys, "log"), "wb")
        self.addCleanup(log.close)
        unbound = subprocess.Popen([lib.have("unbound"), "-d", "-c", unbound_conf], stdout=log,
                                   stderr=log)
        self.addCleanup(unbound.wait)
        self.addCleanup(unbound.terminate)

        def ask(name, rdtype="A"):
            query = dns.message.make_query(name, rdtype, want_dnssec=True)
            return dns.query.udp(query, "127.0.0.1", port=port, timeout=3)

        lib.wait_for(lambda: ask("www.example.org").rcode() == dns.rcode.NOERROR,
                     "unbound answers", 30)
        for name, rdtype in (("www.example.org", "A"), ("xmpp.example.org", "A"),
                             ("_xmpp-client._tcp.example.org", "SRV"), ("www.example.org", "MX"),
                             ("missing.example.org", "A"), ("x.wild.example.org", "A")):
            answer = ask(name, rdtype)
            self.assertTrue(answer.flags & dns.flags.AD, f"{name} {rdtype} is not secure: {answer}")
        firsts = collections.Counter()
        for _ in range(200):
            rrset = ask("xmpp.example.org").answer[0]
            firsts[rrset[0].address] += 1
        self.assertEqual(len(firsts), 4, firsts)
        for count in firsts.values():
            self.assertGreater(count, 20, firsts)


if __name__ == "__main__":
    unittest.main()
