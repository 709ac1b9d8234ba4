"""Zones as others see them: Unbound validating every kind of name, delegation and alias, each step of
a key rollover, and the signed zone that a transfer hands to other servers."""

import os
import shutil
import subprocess
import tempfile
import time
import unittest

import dns.dnssec
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

import dns_lib as lib

ZONE_TEXT = lib.ZONE_TEXT + """\
old IN DNAME new
www.new IN A 192.0.2.9
signed IN NS ns.signed
ns.signed IN A 192.0.2.78
signed IN DS 1 13 2 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
deep.a.b IN A 192.0.2.10
*.walias IN CNAME www
"""

# Names with records, empty ones, absent ones, made by a wildcard or a DNAME, aliases, pools, cuts.
NAMES = ("example.org", "www.example.org", "b.example.org", "missing.example.org",
         "x.y.missing.example.org", "a.b.wild.example.org", "wild.example.org", "alias.example.org",
         "q.walias.example.org", "old.example.org", "www.old.example.org", "xmpp.example.org",
         "lb1.xmpp.example.org", "_tcp.example.org", "_xmpp-client._tcp.example.org")
TYPES = ("A", "TXT", "NSEC", "RRSIG", "DS", "DNSKEY", "CNAME", "SRV", "TYPE65280")


class Unbound:
    """A validating resolver whose only zone is example.org, with these keys as anchors."""

    def __init__(self, test, server_port, anchors, cache_max_ttl=0):
        self.directory = tempfile.mkdtemp(prefix="mongoosedns-unbound-")
        test.addCleanup(shutil.rmtree, self.directory)
        self.port = lib.free_port()
        path = os.path.join(self.directory, "unbound.conf")
        trust = "".join(f'  trust-anchor: "{anchor}"\n' for anchor in anchors)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""
server:
  interface: 127.0.0.1@{self.port}
  port: {self.port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{self.directory}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  val-log-level: 2
  cache-max-ttl: {cache_max_ttl}
{trust}remote-control:
  control-enable: no
stub-zone:
  name: "example.org"
  stub-addr: 127.0.0.1@{server_port}
""")
        log = open(os.path.join(self.directory, "log"), "wb")
        test.addCleanup(log.close)
        process = subprocess.Popen([lib.have("unbound"), "-d", "-c", path], stdout=log, stderr=log)
        test.addCleanup(process.wait)
        test.addCleanup(process.terminate)
        lib.wait_for(lambda: self.ask("www.example.org").rcode() == dns.rcode.NOERROR,
                     "unbound answers", 30)

    def ask(self, name, rdtype="A"):
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        return dns.query.udp(query, "127.0.0.1", port=self.port, timeout=10)

    def log(self):
        with open(os.path.join(self.directory, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]


def config(keys, extra=""):
    balancers = [(f"lb{i}", f"198.51.100.{i}", 100) for i in range(1, 13)]
    listed = ", ".join(f'"{path}"' for path in keys)
    return (lib.BASE + lib.pool(balancers) +
            lib.ZONE.replace("file =", f'keys = [{listed}]\n{extra}\nfile =') +
            '\n[rate_limit]\nresponses = "0"\n')


class Validated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = tempfile.mkdtemp(prefix="mongoosedns-keys-")
        cls.path, _, cls.dnskey = lib.make_key(cls.keys)
        cls.server = lib.Server(config([cls.path], 'transfer_allow = ["127.0.0.1"]'),
                                {"example.org.zone": ZONE_TEXT})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        shutil.rmtree(cls.keys)

    def test_no_question_at_any_name_fails_at_a_validator(self):
        unbound = Unbound(self, self.server.port, [self.dnskey])
        for name in NAMES:
            for rdtype in TYPES:
                if rdtype == "DS" and name == "example.org":
                    continue  # the parent's, which is not there
                if rdtype == "CNAME" and name == "www.old.example.org":
                    continue  # Unbound 1.17 looks for a DS at the alias that it made itself
                answer = unbound.ask(name, rdtype)
                self.assertNotEqual(answer.rcode(), dns.rcode.SERVFAIL,
                                    f"{name} {rdtype}\n{unbound.log()}")
                if rdtype != "RRSIG":  # which no validator can judge
                    self.assertTrue(answer.flags & dns.flags.AD, f"{name} {rdtype}: {answer}")

    def test_ds_below_a_cut_is_a_referral(self):
        for name in ("x.sub.example.org", "ns.sub.example.org", "a.b.signed.example.org"):
            answer = self.server.query(name, "DS", want_dnssec=True)
            self.assertFalse(answer.flags & dns.flags.AA, name)
            self.assertEqual(answer.answer, [])
            cut = name.split(".", name.count(".") - 2)[-1]
            self.assertEqual(str(answer.authority[0].name), cut + ".")
            self.assertEqual(answer.authority[0].rdtype, dns.rdatatype.NS)
        self.assertTrue(self.server.query("signed.example.org", "DS").flags & dns.flags.AA)

    def test_ixfr_of_one_that_is_up_to_date_is_one_soa(self):
        serial = self.server.query("example.org", "SOA").answer[0][0].serial
        def ixfr(known):
            text = lib.run(lib.have("kdig"), "@127.0.0.1", "-p", str(self.server.port), "+tcp",
                           "example.org", f"IXFR={known}").stdout
            return [line for line in text.splitlines() if line and not line.startswith(";")]
        self.assertEqual(len(ixfr(serial)), 1)
        self.assertGreater(len(ixfr(serial - 1)), 20)

    def test_a_transfer_is_the_signed_zone_and_another_server_serves_it(self):
        text = lib.run(lib.have("kdig"), "@127.0.0.1", "-p", str(self.server.port), "+tcp",
                       "example.org", "AXFR").stdout
        self.assertIn("NSEC", text)
        # The SOA that ends the transfer is no record of the zone.
        lines = text.splitlines()
        last = max(i for i, line in enumerate(lines) if "\tSOA\t" in line)
        text = "\n".join(lines[:last] + lines[last + 1:]) + "\n"
        directory = tempfile.mkdtemp(prefix="mongoosedns-nsd-")
        self.addCleanup(shutil.rmtree, directory)
        zone = os.path.join(directory, "zone")
        with open(zone, "w", encoding="utf-8") as file:
            file.write(text)
        key = os.path.join(directory, "key")
        with open(key, "w", encoding="utf-8") as file:
            file.write(self.dnskey + "\n")
        verified = lib.run(lib.have("ldns-verify-zone"), "-k", key, zone, check=False)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        port = lib.free_port()
        conf = os.path.join(directory, "nsd.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(f"""
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  zonesdir: "{directory}"
  database: ""
  pidfile: ""
  xfrdfile: "{directory}/xfrd"
  zonelistfile: "{directory}/zonelist"
  xfrdir: "{directory}"
remote-control:
  control-enable: no
zone:
  name: example.org
  zonefile: {zone}
""")
        log = open(os.path.join(directory, "log"), "wb")
        self.addCleanup(log.close)
        nsd = subprocess.Popen([lib.have("nsd"), "-d", "-c", conf], stdout=log, stderr=log)
        self.addCleanup(nsd.wait)
        self.addCleanup(nsd.terminate)
        unbound = Unbound(self, port, [self.dnskey])
        for name, rdtype in (("www.example.org", "A"), ("missing.example.org", "A"),
                             ("a.wild.example.org", "A"), ("xmpp.example.org", "A"),
                             ("_xmpp-client._tcp.example.org", "SRV"), ("b.example.org", "A"),
                             ("www.example.org", "TXT"), ("signed.example.org", "DS"),
                             ("sub.example.org", "DS"), ("www.old.example.org", "A")):
            answer = unbound.ask(name, rdtype)
            self.assertTrue(answer.flags & dns.flags.AD, f"{name} {rdtype}\n{unbound.log()}")


class Rollover(unittest.TestCase):
    """The times of the key files are moved instead of the clock; a resolver with a cache looks on."""

    def set_times(self, path, **times):
        with open(path, encoding="utf-8") as file:
            lines = [line for line in file if line.split(":")[0] not in (
                "Publish", "Activate", "Inactive", "Delete", "SyncPublish", "SyncDelete")]
        for name, offset in times.items():
            stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + offset))
            lines.append(f"{name}: {stamp}\n")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(lines)

    def test_no_step_of_a_rollover_fails_at_a_validator(self):
        keys = tempfile.mkdtemp(prefix="mongoosedns-keys-")
        self.addCleanup(shutil.rmtree, keys)
        old, old_ds, old_key = lib.make_key(keys)
        new, new_ds, new_key = lib.make_key(keys)
        day = 86400
        self.set_times(new, Publish=day, Activate=2 * day)
        server = lib.Server(config([old, new], "dnskey_ttl = 1"), {"example.org.zone": ZONE_TEXT})
        self.addCleanup(server.stop)
        before = Unbound(self, server.port, [old_key], cache_max_ttl=2)

        def tags(rdtype, name="example.org"):
            answer = server.query(name, rdtype, want_dnssec=True, tcp=True)
            if rdtype == "DNSKEY":
                return {dns.dnssec.key_id(r) for r in answer.answer[0]}
            if rdtype == "CDS":
                return {r.key_tag for r in answer.answer[0]}
            return {r.key_tag for r in answer.answer[1]}

        old_tag, new_tag = (int(ds.split()[4]) for ds in (old_ds, new_ds))
        past = -day
        steps = (
            # the new key's times, the old key's, DNSKEY, signers of the zone, CDS
            (dict(Publish=day, Activate=2 * day), {}, {old_tag}, {old_tag}, {old_tag}),
            (dict(Publish=past, Activate=day, SyncPublish=day), {}, {old_tag, new_tag}, {old_tag},
             {old_tag}),
            (dict(Publish=past, Activate=past, SyncPublish=past),  # both sign
             dict(Inactive=day, SyncDelete=past), {old_tag, new_tag}, {old_tag, new_tag},
             {new_tag}),
            (dict(Publish=past, Activate=past, SyncPublish=past),
             dict(Inactive=past, SyncDelete=past), {old_tag, new_tag}, {new_tag}, {new_tag}),
            (dict(Publish=past, Activate=past, SyncPublish=past),
             dict(Inactive=past, SyncDelete=past, Delete=past), {new_tag}, {new_tag}, {new_tag}))
        for i, (new_times, old_times, dnskeys, signers, cds) in enumerate(steps):
            self.set_times(new, **new_times)
            self.set_times(old, **old_times)
            server.reload()
            self.assertEqual(tags("DNSKEY"), dnskeys, i)
            self.assertEqual(tags("CDS"), cds, i)
            self.assertEqual(tags("A", "www.example.org"), signers, i)
            # A resolver that the parent has told of the old key, up to the last step, and one of the
            # new key, from when it is published.
            resolvers = [before] if i < 4 else []
            if i > 0:
                resolvers.append(Unbound(self, server.port, [new_key], cache_max_ttl=2))
            for resolver in resolvers:
                for name in ("www.example.org", "xmpp.example.org", "missing.example.org",
                             "a.wild.example.org"):
                    answer = resolver.ask(name)
                    self.assertTrue(answer.flags & dns.flags.AD, f"step {i} {name}\n"
                                    f"{resolver.log()}")


class Files(unittest.TestCase):
    def test_every_mistake_of_a_zone_file_is_told_with_its_line(self):
        directory = tempfile.mkdtemp(prefix="mongoosedns-files-")
        self.addCleanup(shutil.rmtree, directory)
        with open(os.path.join(directory, "example.org.zone"), "w", encoding="utf-8") as file:
            file.write(lib.ZONE_TEXT + "$TTL foo\nbad IN A 1.2.3\nalias IN A 192.0.2.1\n"
                       "out.example.com. IN A 192.0.2.1\nq IN TXT \"open\n")
        path = os.path.join(directory, "mongoosedns.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write('[server]\nlisten = ["127.0.0.1:5300"]\n[zone."example.org"]\n'
                       'file = "example.org.zone"\n')
        result = lib.run(lib.PROGRAM, "check", path, check=False)
        self.assertEqual(result.returncode, 1)
        first = lib.ZONE_TEXT.count("\n") + 1
        for line in (first, first + 1, first + 2, first + 4):
            self.assertIn(f"example.org.zone:{line}: ", result.stderr)


if __name__ == "__main__":
    unittest.main()
