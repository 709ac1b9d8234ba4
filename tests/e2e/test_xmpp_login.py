"""Clients of a mongooseim of ours: they log in over STARTTLS and direct TLS, chat both ways, come
back to their session after a cut connection, and all that through a balancer that ended their TLS."""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import socket
import ssl
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.slix import SlixClient, exchange
from lib.wait import wait_until
from lib.xmppjs import XmppJs

DOMAIN = "chat.example"
OPENING = (f"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
           f"to='{DOMAIN}' version='1.0'>")
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


class RawClient:
    """A client by hand over TLS, for what no library here does: SCRAM-PLUS by the server's
    certificate (RFC 5929)."""

    def __init__(self, port, ca_file):
        context = ssl.create_default_context(cafile=ca_file)
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=15),
                                          server_hostname=DOMAIN)
        self.heard = b""

    def say(self, text):
        self.socket.sendall(text.encode())

    def until(self, word):
        while word.encode() not in self.heard:
            piece = self.socket.recv(4096)
            if not piece:
                raise AssertionError(f"no {word} in {self.heard!r}")
            self.heard += piece
        said, _, self.heard = self.heard.partition(word.encode())
        return (said + word.encode()).decode()

    def scram_plus(self, user, password, binding=None):
        """What the server answers: success or failure."""
        if binding is None:
            binding = hashlib.sha256(self.socket.getpeercert(binary_form=True)).digest()
        header = b"p=tls-server-end-point,,"
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n={user},r={nonce}"
        self.say(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256-PLUS'>"
                 f"{base64.b64encode(header + first.encode()).decode()}</auth>")
        challenge = base64.b64decode(re.search(r">([^<]+)</challenge>",
                                               self.until("</challenge>")).group(1)).decode()
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]),
                                     int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        bare = f"c={base64.b64encode(header + binding).decode()},r={fields['r']}"
        signature = hmac.digest(hashlib.sha256(client_key).digest(),
                                f"{first},{challenge},{bare}".encode(), "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        last = f"{bare},p={base64.b64encode(proof).decode()}"
        self.say(f"<response xmlns='{SASL}'>{base64.b64encode(last.encode()).decode()}</response>")
        return self.until(">")


class Login(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        cls.node = Mongooseim(cls.workspace, cls.epmd, "mim")
        chain, chain_key = cls.authority.issue("node", [DOMAIN])
        cls.plain, cls.direct, cls.proxied = (net.free_port() for _ in range(3))
        text = cls.node.read("etc/mongooseim.toml")
        for key, value in (("listen", f'["127.0.0.1:{cls.plain}"]'),
                           ("listen_tls", f'["127.0.0.1:{cls.direct}"]'),
                           ("listen_proxy", f'["127.0.0.1:{cls.proxied}"]'),
                           ("proxy_from", '["127.0.0.0/8"]'), ("workers", "3"),
                           ("failures_per_address", '"0"')):
            text, times = re.subn(rf"^#{key} = .*$", f"{key} = {value}", text, flags=re.M)
            assert times == 1, key
        cls.node.write("etc/mongooseim.toml", text + f"""
[[host]]
domain = "{DOMAIN}"
certificate = "{chain}"
key = "{chain_key}"
""")
        cls.node.live()
        for user in ("romeo", "juliet"):
            done = cls.node.ctl("account", "registerUser", "--username", user, "--domain", DOMAIN,
                                "--password", "secret")
            assert done.code == 0, done
        front, front_key = cls.authority.issue("front", [DOMAIN])
        cls.front = net.free_port()
        cls.balancer = Balancer(cls.workspace, {
            "listener": {"front": {"bind": f"127.0.0.1:{cls.front}", "pool": "nodes", "mode": "tls",
                                   "certificates": [{"chain": front, "key": front_key}]}},
            "pool": {"nodes": {"node": [{"name": "n1", "address": f"127.0.0.1:{cls.proxied}"}],
                               "send_proxy": "v2",
                               "send_proxy_tlvs": ["ssl", "channel_binding", "alpn", "authority"],
                               "check": [{"type": "tcp", "interval": "1s"}]}},
        }).start()
        wait_until(lambda: cls.balancer.node_states().get("n1") == "up", "the node is up")

    def slix(self, user, resource, tls="starttls", port=None, password="secret"):
        port = port or (self.direct if tls == "direct" else self.plain)
        return SlixClient(user, DOMAIN, password, "127.0.0.1", port, self.authority.ca_file,
                          resource=resource, tls=tls)

    def metric(self, name):
        return self.node.metric(name)

    def raw(self, port):
        client = RawClient(port, self.authority.ca_file)
        client.say(OPENING)
        return client, client.until("</stream:features>")

    # --- straight to the node

    def test_slixmpp_chats_over_starttls_and_direct_tls(self):
        async def chat():
            one = await self.slix("romeo", "s1").login()
            other = await self.slix("juliet", "s2", tls="direct").login()
            await exchange(one, other, "hello")
            await one.ping()
            for client in (one, other):
                await client.logout()
        asyncio.run(chat())

    def test_xmpp_js_chats_over_both(self):
        one = XmppJs("romeo", DOMAIN, "secret", "127.0.0.1", self.plain, self.authority.ca_file,
                     resource="j1")
        other = XmppJs("juliet", DOMAIN, "secret", "127.0.0.1", self.direct,
                       self.authority.ca_file, resource="j2", tls="direct")
        try:
            one.wait_for("online")
            other.wait_for("online")
            one.say(f"juliet@{DOMAIN}/j2", "hi")
            self.assertEqual(other.heard(), (f"romeo@{DOMAIN}", "hi"))
            other.say(f"romeo@{DOMAIN}/j1", "ho")
            self.assertEqual(one.heard(), (f"juliet@{DOMAIN}", "ho"))
        finally:
            one.close()
            other.close()

    def test_check_reads_the_certificates(self):
        self.assertEqual(self.node.mim("check").code, 0)
        text = self.node.read("etc/mongooseim.toml")
        try:
            self.node.write("etc/mongooseim.toml", text.replace("node.pem", "nowhere.pem"))
            done = self.node.mim("check")
            self.assertEqual(done.code, 1)
            self.assertIn("nowhere.pem", done.err)
        finally:
            self.node.write("etc/mongooseim.toml", text)

    def test_a_wrong_password_is_refused_and_counted(self):
        before = self.metric("c2s_auth_failed_count")

        async def fail():
            with self.assertRaises(ConnectionError):
                await self.slix("romeo", "w", password="wrong").login()
        asyncio.run(fail())
        self.assertGreater(self.metric("c2s_auth_failed_count"), before)

    def test_a_cut_connection_loses_nothing(self):
        async def cut():
            one = await self.slix("romeo", "c1").login()
            other = await self.slix("juliet", "c2").login()
            await exchange(one, other, "before")
            await other.drop()
            for number in range(10):
                await one.say(f"juliet@{DOMAIN}/c2", str(number))
            await other.login()
            self.assertEqual(other.resumed_streams, 1)
            self.assertEqual([(await other.heard())[1] for _ in range(10)],
                             [str(number) for number in range(10)])
            await exchange(one, other, "after")
            for client in (one, other):
                await client.logout()
        asyncio.run(cut())

    def test_scram_plus_by_the_certificate(self):
        client, features = self.raw(self.direct)
        self.assertIn("<mechanism>SCRAM-SHA-256-PLUS</mechanism>", features)
        self.assertIn("<channel-binding type='tls-exporter'/>", features)
        self.assertIn("<success", client.scram_plus("romeo", "secret"))
        client, _ = self.raw(self.direct)
        self.assertIn("<failure", client.scram_plus("romeo", "secret", binding=b"x" * 32))

    def test_a_reload_changes_certificates_and_no_session(self):
        async def reload():
            one = await self.slix("romeo", "r1").login()
            chain, key = self.authority.issue("node", [DOMAIN], days=3)
            self.assertTrue(os.path.exists(chain) and os.path.exists(key))
            self.node.process.popen.send_signal(1)
            await asyncio.to_thread(
                wait_until, lambda: self.metric("tls_cert_remaining_days") == 2.0, "it is read")
            other = await self.slix("juliet", "r2").login()
            await exchange(one, other, "still there")
            for client in (one, other):
                await client.logout()
        asyncio.run(reload())

    # --- behind a balancer that ended their TLS

    def test_behind_the_balancer_a_client_is_secure_and_bound(self):
        client, features = self.raw(self.front)
        self.assertNotIn("starttls", features)
        self.assertIn("<mechanism>SCRAM-SHA-256-PLUS</mechanism>", features)
        self.assertIn("<success", client.scram_plus("romeo", "secret"))
        client, _ = self.raw(self.front)
        self.assertIn("<failure", client.scram_plus("romeo", "secret", binding=b"x" * 32))

    def test_slixmpp_chats_through_the_balancer(self):
        async def chat():
            one = await self.slix("romeo", "b1", tls="direct", port=self.front).login()
            other = await self.slix("juliet", "b2").login()
            await exchange(one, other, "through")
            for client in (one, other):
                await client.logout()
        asyncio.run(chat())


if __name__ == "__main__":
    unittest.main()
