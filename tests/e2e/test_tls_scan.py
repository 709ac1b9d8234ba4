"""testssl.sh on the listeners that end TLS: nothing above "low" that is theirs to answer for.

Cipher by cipher they are looked at by sslscan (test_tls.py), which is faster at that.
"""

import json
import os
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.node import node_tables
from lib.recorder import Recorder
from lib.tls import certificates

DOMAIN = "chat.example"
ABOVE_LOW = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
# What the test's own authority and certificate are to blame for.
EXCEPTED = {
    "cert_revocation": "the test's authority publishes neither a list of revocations nor OCSP",
}
# A scan that broke off would find nothing.
LOOKED_AT = {
    "SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "PFS", "PFS_ECDHE_curves", "cert_trust",
    "cert_chain_of_trust", "cert_expirationStatus", "heartbleed", "CCS", "ROBOT", "secure_renego",
    "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "fallback_SCSV", "SWEET32", "FREAK", "DROWN",
    "LOGJAM", "BEAST", "LUCKY13", "RC4",
}


class Testssl(EndToEndCase):
    """Both listeners are scanned at the same time; it takes a minute or two, of which the scanner
    itself, a shell script, takes most."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        authority = Authority(cls.workspace)
        # Certificates of which less than 60 days are left are a finding.
        front = authority.issue("front", [DOMAIN], days=90)
        recorder = Recorder()
        cls.addClassCleanup(recorder.close)
        ports = {"tls": net.free_port(), "starttls": net.free_port()}
        cls.balancer = Balancer(cls.workspace, {
            "listener": {mode: {"bind": f"127.0.0.1:{port}", "pool": "keep", "mode": mode,
                                "certificates": certificates(front)}
                         for mode, port in ports.items()},
            "pool": {"keep": {"node": node_tables([recorder])}},
        }).start()
        cls.scans = {mode: cls.scan(mode, port, authority.ca_file) for mode, port in ports.items()}

    @classmethod
    def scan(cls, mode, port, ca_file):
        starttls = ["--starttls", "xmpp", "--xmpphost", DOMAIN] if mode == "starttls" else []
        return cls.workspace.start(f"testssl-{mode}", [
            "testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none",
            "--ip", "127.0.0.1", "--add-ca", ca_file, "--jsonfile", cls.findings_path(mode),
            "--protocols", "--pfs", "--server-defaults", "--vulnerable", "--fast", *starttls,
            f"{DOMAIN}:{port}"])

    @classmethod
    def findings_path(cls, mode):
        return os.path.join(cls.workspace.folder, f"testssl-{mode}.json")

    def judge(self, mode):
        self.scans[mode].wait_exit(900)  # its status counts findings of any kind
        with open(self.findings_path(mode), encoding="utf-8") as file:
            findings = json.load(file)
        self.assertEqual(LOOKED_AT - {finding["id"] for finding in findings}, set())
        self.assertEqual([finding for finding in findings if finding["severity"] in ABOVE_LOW and
                          finding["id"] not in EXCEPTED], [])
        offered = {f["id"]: f["finding"] for f in findings if f["id"].startswith(("SSLv", "TLS1"))}
        for version, finding in offered.items():
            new = version in ("TLS1_2", "TLS1_3")
            self.assertRegex(finding, "^offered" if new else "^not offered", version)

    def test_direct_tls_has_no_finding_above_low(self):
        self.judge("tls")

    def test_starttls_has_no_finding_above_low(self):
        self.judge("starttls")


if __name__ == "__main__":
    unittest.main()
