"""Certificates by ACME: certbot and lego prove names at a certificate authority by dns-01, whose
records they set at mongoosedns by dynamic updates with a key (RFC 2136, RFC 8555 section 8.4)."""

import os
import unittest

from cryptography import x509

import dns_lib as lib
import dns_tsig
from dns_tsig import SECRETS
from dns_update import texts
from lib.acme import AcmeServer

KEY = "hmac-sha256.key"
CREDENTIALS = """dns_rfc2136_server = 127.0.0.1
dns_rfc2136_port = @PORT@
dns_rfc2136_name = hmac-sha256.key.
dns_rfc2136_secret = @SECRET@
dns_rfc2136_algorithm = HMAC-SHA256
"""


class Acme(unittest.TestCase):
    def setUp(self):
        self.server = dns_tsig.serve(self, f'acme_keys = ["{KEY}"]\n')
        self.authority = AcmeServer(lambda name: texts(self.server, name))
        self.addCleanup(self.authority.stop)

    def path(self, name):
        return os.path.join(self.server.directory, name)

    def certbot(self, *names, secret=SECRETS["hmac-sha256"], check=True):
        credentials = self.server.fill(CREDENTIALS).replace("@SECRET@", secret)
        result = lib.run(
            lib.have("certbot"), "certonly", "--non-interactive", "--agree-tos",
            "--register-unsafely-without-email", "--server", self.authority.url + "/directory",
            "--config-dir", self.path("certbot"), "--work-dir", self.path("certbot/work"),
            "--logs-dir", self.path("certbot/log"), "--dns-rfc2136",
            "--dns-rfc2136-credentials", dns_tsig.key_file(self.server.directory, "rfc2136.ini",
                                                           credentials),
            "--dns-rfc2136-propagation-seconds", "0",
            *(word for name in names for word in ("-d", name)), check=check)
        return result

    def names_of(self, path):
        with open(path, "rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read())
        return sorted(certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName))

    def assert_proved(self, *names):
        """The authority saw a record for each, and none is left behind."""
        self.assertEqual(sorted(name for name, _ in self.authority.looked_up), sorted(names))
        for name, found in self.authority.looked_up:
            self.assertTrue(found, name)
            self.assertEqual(texts(self.server, name), [], "cleared")

    def test_certbot_gets_a_certificate_of_a_name_and_all_below_it(self):
        self.certbot("www.example.org", "*.www.example.org")
        self.assertEqual(self.names_of(self.path("certbot/live/www.example.org/cert.pem")),
                         ["*.www.example.org", "www.example.org"])
        self.assert_proved("_acme-challenge.www.example.org", "_acme-challenge.www.example.org")
        self.assertEqual(max(len(found) for _, found in self.authority.looked_up), 2,
                         "both proofs stand side by side")

    def test_lego_gets_one_too(self):
        environment = dict(os.environ, RFC2136_NAMESERVER=f"127.0.0.1:{self.server.port}",
                           RFC2136_TSIG_ALGORITHM="hmac-sha256.", RFC2136_TSIG_KEY=KEY + ".",
                           RFC2136_TSIG_SECRET=SECRETS["hmac-sha256"])
        # It would look the name servers up by their names, which no resolver here has.
        lib.run(lib.have("lego"), "--accept-tos", "--email", "admin@example.org", "--server",
                self.authority.url + "/directory", "--dns", "rfc2136", "--dns.resolvers",
                f"127.0.0.1:{self.server.port}", "--dns.disable-cp", "--path", self.path("lego"), "--domains",
                "www.example.org", "run", env=environment, timeout=120)
        self.assertEqual(self.names_of(self.path("lego/certificates/www.example.org.crt")),
                         ["www.example.org"])
        self.assert_proved("_acme-challenge.www.example.org")

    def test_who_has_another_key_gets_none(self):
        result = self.certbot("www.example.org", secret=SECRETS["hmac-sha384"], check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(self.authority.looked_up, [])
        self.assertEqual(texts(self.server), [])


if __name__ == "__main__":
    unittest.main()
