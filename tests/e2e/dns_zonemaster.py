"""The tests of a registry (Zonemaster, as .se and .fr run it) against a zone of ours: signed, with a
pool of balancers, on two addresses in a network of its own."""

import ctypes
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import dns_lib as lib

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
# Addresses of no special registry, which a registry's tests would object to; they lead nowhere else.
ADDRESSES = ("9.9.2.1", "9.8.3.1")
ZONE_TEXT = f"""\
$TTL 3600
@ IN SOA ns1 hostmaster 2026112801 14400 3600 1209600 3600
@ IN NS ns1
@ IN NS ns2
@ IN MX 10 mail
ns1 IN A {ADDRESSES[0]}
ns2 IN A {ADDRESSES[1]}
mail IN A {ADDRESSES[0]}
"""


class Zonemaster(unittest.TestCase):
    def setUp(self):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "a network of its own; this test runs as root")
        lib.run("ip", "link", "set", "lo", "up")
        for address in ADDRESSES:
            lib.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        self.keys = tempfile.mkdtemp(prefix="mongoosedns-zonemaster-")
        self.addCleanup(shutil.rmtree, self.keys)

    def test_a_registry_finds_no_error(self):
        path, ds, _ = lib.make_key(self.keys)
        config = lib.BASE.replace('listen = ["127.0.0.1:@PORT@"]', "listen = " + json.dumps(
            [f"{address}:53" for address in ADDRESSES])) + lib.pool(
                [(f"lb{i}", f"198.51.100.{i}", 100) for i in (1, 2, 3)])
        config += lib.ZONE.replace("file =", f'key = "{path}"\nfile =')
        server = lib.Server(config, {"example.org.zone": ZONE_TEXT})
        self.addCleanup(server.stop)
        words = ds.split()
        judged = subprocess.run(
            [lib.have("zonemaster-cli"), "--no-ipv6", "--json", "--raw", "--level", "INFO",
             "--ns", f"ns1.example.org/{ADDRESSES[0]}", "--ns", f"ns2.example.org/{ADDRESSES[1]}",
             "--ds", ",".join(words[words.index("DS") + 1:]), "example.org"],
            capture_output=True, text=True, timeout=500, check=False)
        found = json.loads(judged.stdout)
        # Nobody answers for the reverse zones there.
        self.assertEqual({"NO_RESPONSE_PTR_QUERY"},
                         {r["tag"] for r in found
                          if r["level"] in ("WARNING", "ERROR", "CRITICAL")})
        # That nothing is wrong is worth something only where something was judged.
        self.assertLess({"ALGORITHM_OK", "DS10_HAS_NSEC", "EDNS0_SUPPORT", "ARE_AUTHORITATIVE",
                         "CASE_QUERIES_RESULTS_OK", "SAME_SOURCE_IP", "SOA_SERIAL"},
                        {r["tag"] for r in found})


if __name__ == "__main__":
    unittest.main()
