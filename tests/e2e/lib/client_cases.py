"""What holds for every real client behind the balancer, whatever the server: a mix-in for a TestCase
that provides `workspace`, `authority`, `balancer`, `lb_port` and `domain`, and may set `tls`."""

import asyncio
import secrets

from lib import sendxmpp
from lib.profanity import Profanity
from lib.slix import SlixClient, exchange
from lib.wait import wait_until
from lib.xmppjs import XmppJs


class ClientCases:
    PASSWORD = "pw-" + secrets.token_hex(8)
    tls = "starttls"  # or "direct"

    def options(self):
        return {"domain": self.domain, "password": self.PASSWORD, "host": "127.0.0.1",
                "port": self.lb_port, "ca_file": self.authority.ca_file, "tls": self.tls}

    def address(self, user):
        return f"{user}@{self.domain}"

    async def register(self, *users):
        for user in users:
            client = await SlixClient(user, register=True, **self.options()).login()
            await client.logout()

    def test_slixmpp_registers_logs_in_over_tls_and_chats(self):
        async def scene():
            alice = await SlixClient("alice", register=True, **self.options()).login()
            bob = await SlixClient("bob", register=True, **self.options()).login()
            self.assertIn(alice.tls_version, ("TLSv1.2", "TLSv1.3"))
            await exchange(alice, bob, "through <the> balancer & back, ünchanged 🦡")
            await alice.ping()
            ports = alice.local_port, bob.local_port
            await alice.logout()
            await bob.logout()
            return ports
        for port in asyncio.run(scene()):
            node = self.balancer.access_log.node_of(port)
            self.assertIn(node, self.node_names)

    def test_slixmpp_resumes_its_stream_after_a_broken_connection(self):
        async def scene():
            one = await SlixClient("resume1", register=True, **self.options()).login()
            two = await SlixClient("resume2", register=True, **self.options()).login()
            await one.drop()
            await two.say(self.address("resume1") + "/slix", "while you were away")
            await one.login()
            self.assertEqual(one.resumed_streams, 1)
            self.assertEqual(await one.heard(), (self.address("resume2"), "while you were away"))
            await exchange(one, two, "after the resumption")
            await one.logout()
            await two.logout()
        asyncio.run(scene())

    def test_go_sendxmpp_sends_and_listens(self):
        async def scene():
            await self.register("gopher")
            alice = await SlixClient("golistener", register=True, **self.options()).login()
            done = await asyncio.to_thread(
                sendxmpp.send, self.workspace, "gopher", to=self.address("golistener"),
                text="sent by go\n", **self.options())
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(await alice.heard(), (self.address("gopher"), "sent by go"))
            listener = sendxmpp.listen(self.workspace, "gopher", **self.options())
            try:
                # It says nothing when it is online: messages go out until one comes in.
                for number in range(100):
                    await alice.say(self.address("gopher"), f"for go, number {number}")
                    await asyncio.sleep(0.1)
                    if "for go, number" in listener.log():
                        break
                self.assertRegex(listener.log(),
                                 f"{self.address('golistener')}: for go, number [0-9]+")
            finally:
                await asyncio.to_thread(listener.stop)
            await alice.logout()
        asyncio.run(scene())

    def test_xmpp_js_logs_in_over_tls_and_chats(self):
        async def scene():
            await self.register("javascript")
            alice = await SlixClient("jsfriend", register=True, **self.options()).login()
            script = XmppJs("javascript", **self.options())
            try:
                online = await asyncio.to_thread(script.wait_for, "online")
                self.assertTrue(online["encrypted"], online)
                script.say(self.address("jsfriend") + "/slix", "from node & <co>")
                self.assertEqual(await alice.heard(),
                                 (self.address("javascript"), "from node & <co>"))
                await alice.say(self.address("javascript") + "/js", "to node")
                self.assertEqual(await asyncio.to_thread(script.heard),
                                 (self.address("jsfriend"), "to node"))
            finally:
                await asyncio.to_thread(script.close)
            await alice.logout()
        asyncio.run(scene())

    def test_profanity_logs_in_over_tls_and_chats(self):
        async def scene():
            await self.register("profane")
            alice = await SlixClient("proffriend", register=True, **self.options()).login()
            terminal = await asyncio.to_thread(
                Profanity, self.workspace, "profane", self.authority.ca_file)
            try:
                await asyncio.to_thread(terminal.login, "profane", self.domain, self.PASSWORD,
                                        "127.0.0.1", self.lb_port, self.tls)
                terminal.say(self.address("proffriend"), "from the terminal")
                self.assertEqual(await alice.heard(),
                                 (self.address("profane"), "from the terminal"))
                await alice.say(self.address("profane"), "to the terminal")
                await asyncio.to_thread(terminal.wait_for, "to the terminal", "profanity hears")
                self.assertIn("[TLS]", terminal.screen())
            finally:
                await asyncio.to_thread(terminal.close)
            await alice.logout()
        asyncio.run(scene())

    def test_a_wrong_password_is_refused_by_the_server_not_the_balancer(self):
        async def scene():
            await self.register("careful")
            options = self.options() | {"password": "not it"}
            with self.assertRaisesRegex(ConnectionError, "failed_all_auth"):
                await SlixClient("careful", **options).login()
        asyncio.run(scene())
        wait_until(lambda: self.balancer.get("/livez")[0] == 200, "the balancer lives on")
