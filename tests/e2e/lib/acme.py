"""A certificate authority that speaks ACME (RFC 8555) and knows dns-01 only: it looks the challenge
up at the DNS server that it is given, and signs with a key that it makes. It is here since Debian
has none; signatures of requests are not checked, the clients that come are the test's."""

import base64
import datetime
import hashlib
import http.server
import json
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(jwk):
    """RFC 7638."""
    members = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}[jwk["kty"]]
    text = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"), sort_keys=True)
    return b64(hashlib.sha256(text.encode()).digest())


class Problem(Exception):
    pass


class AcmeServer:
    """`look_up(name)` gives the texts of the TXT records there. `looked_up` says what was found for
    each challenge, in order."""

    def __init__(self, look_up):
        self.look_up = look_up
        self.looked_up = []
        self.accounts = {}  # URL → thumbprint
        self.orders = []
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.serial = 0
        authority = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_HEAD(self):
                self.answer(200, b"")

            def do_GET(self):
                if self.path == "/directory":
                    return self.answer(200, {
                        name: authority.url + "/" + name
                        for name in ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")})
                self.answer(204, b"")

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                header = json.loads(unb64(body["protected"]))
                payload = json.loads(unb64(body["payload"])) if body["payload"] else None
                try:
                    self.answer(*authority.act(self.path, header, payload))
                except Problem as problem:
                    self.answer(403, {"type": "urn:ietf:params:acme:error:unauthorized",
                                      "detail": str(problem)})

            def answer(self, status, body, headers=None):
                kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
                if not isinstance(body, bytes):
                    body = json.dumps(body).encode()
                self.send_response(status)
                authority.serial += 1
                self.send_header("Replay-Nonce", b64(f"nonce-{authority.serial}".encode()))
                self.send_header("Cache-Control", "no-store")
                self.send_header("Content-Type", (headers or {}).pop("Content-Type", kind))
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD" and status != 204:
                    self.wfile.write(body)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def act(self, path, header, payload):
        parts = path.strip("/").split("/")
        if parts[0] == "newAccount":
            url = f"{self.url}/account/{len(self.accounts)}"
            self.accounts[url] = thumbprint(header["jwk"])
            return 201, {"status": "valid", "contact": [], "orders": url + "/orders"}, {"Location": url}
        print_of_key = self.accounts[header["kid"]]
        if parts[0] == "newOrder":
            self.orders.append([
                {"name": one["value"], "token": b64(hashlib.sha256(f"{len(self.orders)} {i}".encode())
                                                    .digest()), "status": "pending"}
                for i, one in enumerate(payload["identifiers"])])
            self.orders[-1].append(None)  # the chain
            number = len(self.orders) - 1
            return 201, self.order(number), {"Location": f"{self.url}/order/{number}"}
        if parts[0] == "account":
            return 200, {"status": "valid"}
        order = self.orders[int(parts[1])]
        if parts[0] == "order":
            return 200, self.order(int(parts[1])), {"Location": f"{self.url}/order/{parts[1]}"}
        if parts[0] == "authz":
            return 200, self.authorization(parts, order[int(parts[2])])
        if parts[0] == "challenge":
            self.validate(order[int(parts[2])], print_of_key)
            return (200, self.challenge(parts, order[int(parts[2])]),
                    {"Link": f'<{self.url}/authz/{parts[1]}/{parts[2]}>;rel="up"'})
        if parts[0] == "finalize":
            order[-1] = self.sign(x509.load_der_x509_csr(unb64(payload["csr"])), order[:-1])
            return 200, self.order(int(parts[1])), {"Location": f"{self.url}/order/{parts[1]}"}
        return 200, order[-1], {"Content-Type": "application/pem-certificate-chain"}

    def order(self, number):
        *names, chain = self.orders[number]
        states = {one["status"] for one in names}
        status = ("valid" if chain else "invalid" if "invalid" in states
                  else "pending" if "pending" in states else "ready")
        shown = {"status": status, "identifiers": [{"type": "dns", "value": one["name"]}
                                                   for one in names],
                 "expires": "2099-01-01T00:00:00Z",
                 "authorizations": [f"{self.url}/authz/{number}/{i}" for i in range(len(names))],
                 "finalize": f"{self.url}/finalize/{number}"}
        if chain:
            shown["certificate"] = f"{self.url}/certificate/{number}"
        return shown

    def authorization(self, parts, one):
        return {"status": one["status"], "expires": "2099-01-01T00:00:00Z",
                "identifier": {"type": "dns", "value": one["name"].removeprefix("*.")},
                "wildcard": one["name"].startswith("*."),
                "challenges": [self.challenge(parts, one)]}

    def challenge(self, parts, one):
        shown = {"type": "dns-01", "token": one["token"], "status": one["status"],
                 "url": f"{self.url}/challenge/{parts[1]}/{parts[2]}"}
        if one["status"] == "valid":
            shown["validated"] = "2026-01-01T00:00:00Z"
        if one["status"] == "invalid":
            shown["error"] = {"type": "urn:ietf:params:acme:error:unauthorized",
                              "detail": "the record is not there"}
        return shown

    def validate(self, one, print_of_key):
        """RFC 8555 section 8.4."""
        wanted = b64(hashlib.sha256(f"{one['token']}.{print_of_key}".encode()).digest())
        name = "_acme-challenge." + one["name"].removeprefix("*.")
        found = self.look_up(name)
        self.looked_up.append((name, found))
        one["status"] = "valid" if wanted in found else "invalid"

    def sign(self, request, names):
        asked = request.extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        if {one["name"] for one in names} != set(asked):
            raise Problem("the request names others than the order")
        if any(one["status"] != "valid" for one in names):
            raise Problem("not all names are proved")
        now = datetime.datetime.utcnow()
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        certificate = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(issuer)
            .public_key(request.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in asked]), True)
            .sign(self.key, hashes.SHA256()))
        own = (x509.CertificateBuilder().subject_name(issuer).issuer_name(issuer)
               .public_key(self.key.public_key()).serial_number(1)
               .not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=365))
               .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
               .sign(self.key, hashes.SHA256()))
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (certificate, own))
