"""Real clients on a node of ours, over STARTTLS, over direct TLS, and through a balancer that ends
their TLS: login, roster, presence, chat, receipts, carbons, archive, blocking, and sessions that
go on behind a cut connection with each message once."""

import asyncio
import re
import unittest

from lib import net, sendxmpp, tsung
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.profanity import Profanity
from lib.slix import SlixClient, exchange
from lib.strophe import Strophe
from lib.wait import wait_until
from lib.xmppjs import XmppJs

DOMAIN = "chat.example"
PASSWORD = "secret"
USERS = ("alice", "bob", "carol", "dave", "erin")
WAYS = ("starttls", "direct", "balancer")


class Clients(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        cls.node = Mongooseim(cls.workspace, cls.epmd, "mim")
        proxied, front = net.free_port(), net.free_port()
        cls.node.serve(cls.authority, DOMAIN, c2s={
            "listen_proxy": [f"127.0.0.1:{proxied}"], "proxy_from": ["127.0.0.0/8"], "workers": 2},
            auth={"failures_per_address": "0"}).live()
        for user in USERS:
            cls.node.register(user, PASSWORD)
        for user, password in tsung.names("tsung", 20):
            cls.node.register(user, password)
        chain, key = cls.authority.issue("front", [DOMAIN])
        cls.balancer = Balancer(cls.workspace, {
            "listener": {"front": {"bind": f"127.0.0.1:{front}", "pool": "nodes", "mode": "tls",
                                   "certificates": [{"chain": chain, "key": key}]}},
            "pool": {"nodes": {"node": [{"name": "n1", "address": f"127.0.0.1:{proxied}"}],
                               "send_proxy": "v2",
                               "send_proxy_tlvs": ["ssl", "channel_binding", "alpn", "authority"],
                               "check": [{"type": "tcp", "interval": "1s"}]}},
        }).start()
        wait_until(lambda: cls.balancer.node_states().get("n1") == "up", "the node is up")
        cls.ports = {"starttls": int(cls.node.endpoint.split(":")[1]),
                     "direct": int(cls.node.tls_endpoint.split(":")[1]), "balancer": front}

    @staticmethod
    def tls(way):
        return "starttls" if way == "starttls" else "direct"

    def options(self, way):
        return {"domain": DOMAIN, "password": PASSWORD, "host": "127.0.0.1",
                "port": self.ports[way], "ca_file": self.authority.ca_file, "tls": self.tls(way)}

    async def slix(self, user, resource, way="starttls", plugins=()):
        client = SlixClient(user, resource=resource, **self.options(way))
        for plugin in plugins:
            client.register_plugin(plugin)
        return await client.login()

    @staticmethod
    def address(user):
        return f"{user}@{DOMAIN}"

    def each_way(self, scene):
        for way in WAYS:
            with self.subTest(way=way):
                asyncio.run(scene(way))

    # --- slixmpp

    async def event(self, client, name):
        """A future of the next one."""
        future = asyncio.get_running_loop().create_future()
        client.add_event_handler(name, lambda e: future.done() or future.set_result(e),
                                 disposable=True)
        return future

    def test_slixmpp_befriends_and_sees(self):
        async def scene(way):
            names = f"{way}-1", f"{way}-2"  # whom no other test has in a roster
            for name in names:
                self.node.register(name, PASSWORD)
            one, other = [await self.slix(name, f"friend-{way}", way) for name in names]
            one.auto_authorize = other.auto_authorize = True  # and each asks the other back
            seen = [await self.event(one, "got_online"), await self.event(other, "got_online")]
            one.send_presence_subscription(pto=self.address(names[1]), ptype="subscribe")
            for sight in seen:
                await asyncio.wait_for(sight, 15)
            contact = one.client_roster[self.address(names[1])]
            for _ in range(500):  # the push may come behind the presence
                if contact["subscription"] == "both":
                    break
                await asyncio.sleep(0.02)
            self.assertEqual(contact["subscription"], "both")
            gone = await self.event(one, "got_offline")
            await other.logout()
            await asyncio.wait_for(gone, 15)
            await one.logout()
        self.each_way(scene)

    def test_slixmpp_has_receipts_and_carbons(self):
        plugins = ("xep_0184", "xep_0280")

        async def scene(way):
            one = await self.slix("alice", f"rc1-{way}", way, plugins)
            other = await self.slix("bob", f"rc2-{way}", way, plugins)
            second = await self.slix("bob", f"rc3-{way}", "starttls", plugins)
            for client in (other, second):
                await client["xep_0280"].enable(timeout=15)
            receipt = await self.event(one, "receipt_received")
            copy = await self.event(second, "carbon_received")
            message = one.make_message(other.boundjid.full, "with a receipt", mtype="chat")
            message["request_receipt"] = True
            message.send()
            await asyncio.wait_for(receipt, 15)
            carbon = await asyncio.wait_for(copy, 15)
            self.assertEqual(carbon["carbon_received"]["body"], "with a receipt")
            sent = await self.event(second, "carbon_sent")
            await other.say(one.boundjid.full, "and back")
            carbon = await asyncio.wait_for(sent, 15)
            self.assertEqual(carbon["carbon_sent"]["body"], "and back")
            # Or it would be acknowledged by nobody, and come to alice's next session.
            self.assertEqual((await one.heard())[1], "and back")
            for client in (one, other, second):
                await client.logout()
        self.each_way(scene)

    def test_slixmpp_reads_its_archive_behind_what_it_said(self):
        async def scene(way):
            one = await self.slix("carol", f"mam-{way}", way, ("xep_0313",))
            for number in range(5):
                await one.say(self.address("dave"), f"{way} {number}")
                # At once: what was said before is there.
                page = await one["xep_0313"].retrieve(with_jid=self.address("dave"), timeout=15,
                                                      rsm={"max": 100})
                last = list(page["mam"]["results"])[-1]
                self.assertEqual(last["mam_result"]["forwarded"]["stanza"]["body"],
                                 f"{way} {number}")
            await one.logout()
        self.each_way(scene)

    def test_slixmpp_blocks(self):
        async def scene(way):
            one = await self.slix("alice", f"bl1-{way}", way, ("xep_0191",))
            other = await self.slix("bob", f"bl2-{way}", way)
            await one["xep_0191"].block(self.address("bob"), timeout=15)
            error = await self.event(other, "message_error")
            await other.say(one.boundjid.full, "not heard")
            self.assertEqual((await asyncio.wait_for(error, 15))["error"]["condition"],
                             "service-unavailable")
            await one["xep_0191"].unblock(self.address("bob"), timeout=15)
            await exchange(one, other, f"again {way}")
            for client in (one, other):
                await client.logout()
        self.each_way(scene)

    def test_slixmpp_loses_and_doubles_nothing_over_cut_connections(self):
        async def scene(way):
            one = await self.slix("alice", f"cut1-{way}", way)
            other = await self.slix("bob", f"cut2-{way}", way)
            said = []
            for cut in range(4):
                for number in range(10):
                    said.append(f"{way} {cut}.{number}")
                    await one.say(other.boundjid.full, said[-1])
                    if number == 3:
                        await other.drop()
                        await other.login()
            heard = [(await other.heard())[1] for _ in said]
            self.assertEqual(heard, said)
            self.assertEqual(other.resumed_streams, 4)
            await exchange(one, other, "after")  # and nothing stands before it
            for client in (one, other):
                await client.logout()
        self.each_way(scene)

    # --- libstrophe

    def test_libstrophe_chats_has_receipts_and_its_roster(self):
        async def scene(way):
            one = Strophe(self.address("erin") + f"/st-{way}", PASSWORD, "127.0.0.1",
                          self.ports[way], self.authority.ca_file, self.tls(way))
            try:
                await asyncio.to_thread(one.wait_for, "online ")
                other = await self.slix("dave", f"st-{way}", way, ("xep_0184",))
                other["xep_0184"].auto_ack = True
                one.order("roster")
                await asyncio.to_thread(one.wait_for, "roster end")
                one.order("carbons")
                await asyncio.to_thread(one.wait_for, "carbons result")
                one.say(other.boundjid.full, "from strophe")
                self.assertEqual(await other.heard(), (self.address("erin"), "from strophe"))
                await asyncio.to_thread(one.wait_for, "receipt ")
                second = await self.slix("erin", f"st2-{way}")
                await other.say(second.boundjid.full, "for the other")
                line = await asyncio.to_thread(one.wait_for, "carbon ")
                self.assertEqual(line.split(" ", 2)[2], "for the other")
                self.assertEqual((await second.heard())[1], "for the other")
                for client in (other, second):
                    await client.logout()
            finally:
                await asyncio.to_thread(one.close)
        self.each_way(scene)

    def test_libstrophe_loses_and_doubles_nothing_over_cut_connections(self):
        async def scene(way):
            one = Strophe(self.address("erin") + f"/sc-{way}", PASSWORD, "127.0.0.1",
                          self.ports[way], self.authority.ca_file, self.tls(way))
            try:
                await asyncio.to_thread(one.wait_for, "online ")
                other = await self.slix("dave", f"sc-{way}", way)
                said = []
                for cut in range(3):
                    one.order("cut")
                    for number in range(10):
                        said.append(f"{way} {cut}.{number}")
                        await other.say(f"{self.address('erin')}/sc-{way}", said[-1])
                    await asyncio.to_thread(one.wait_for, "resumed")
                await asyncio.to_thread(wait_until, lambda: len(one.heard) >= len(said), "all came")
                await other.say(f"{self.address('erin')}/sc-{way}", "end")
                await asyncio.to_thread(wait_until, lambda: "end" in one.heard, "the end came")
                self.assertEqual(one.heard, said + ["end"])
                await other.logout()
            finally:
                await asyncio.to_thread(one.close)
        self.each_way(scene)

    # --- the others

    def test_profanity_chats_and_lists_its_roster(self):
        async def scene(way):
            other = await self.slix("bob", f"prof-{way}", way)
            terminal = await asyncio.to_thread(Profanity, self.workspace, f"p-{way}",
                                               self.authority.ca_file)
            try:
                await asyncio.to_thread(terminal.login, "dave", DOMAIN, PASSWORD, "127.0.0.1",
                                        self.ports[way], self.tls(way))
                terminal.type(f"/roster add {self.address('carol')}")
                await asyncio.to_thread(terminal.wait_for, "carol", "the roster has her")
                terminal.say(self.address("bob"), "from the terminal")
                self.assertEqual(await other.heard(), (self.address("dave"), "from the terminal"))
                await other.say(self.address("dave"), f"to the terminal {way}")
                await asyncio.to_thread(terminal.wait_for, f"to the terminal {way}", "it is heard")
                self.assertIn("[TLS]", terminal.screen())
            finally:
                await asyncio.to_thread(terminal.close)
            await other.logout()
        self.each_way(scene)

    def test_go_sendxmpp_sends(self):
        async def scene(way):
            other = await self.slix("bob", f"go-{way}", way)
            options = {**self.options(way), "user": "carol", "workspace": self.workspace}
            done = await asyncio.to_thread(
                sendxmpp.send, to=self.address("bob"), text=f"from go {way}", **options)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(await other.heard(), (self.address("carol"), f"from go {way}"))
            await other.logout()
        self.each_way(scene)

    def test_xmpp_js_chats(self):
        async def scene(way):
            options = self.options(way)
            script = XmppJs("carol", resource=f"js-{way}", **options)
            try:
                await asyncio.to_thread(script.wait_for, "online")
                other = await self.slix("bob", f"js-{way}", way)
                script.say(other.boundjid.full, "from node")
                self.assertEqual(await other.heard(), (self.address("carol"), "from node"))
                await other.say(f"{self.address('carol')}/js-{way}", "to node")
                self.assertEqual(await asyncio.to_thread(script.heard),
                                 (self.address("bob"), "to node"))
                await other.logout()
            finally:
                await asyncio.to_thread(script.close)
        self.each_way(scene)

    def test_tsung_puts_its_load_on(self):
        def logins():
            page = self.node.get("/metrics")[1]
            return float(re.search(r"^sm_session_logins(?:{.*})? (\S+)$", page, re.M)[1])
        before = logins()
        totals = tsung.run(self.workspace, DOMAIN, self.ports["starttls"], 20)
        self.assertEqual(totals.get("users_count"), 20, totals)
        self.assertEqual(totals.get("finish_users_count"), 20, totals)
        self.assertFalse([name for name in totals if name.startswith("error")], totals)
        self.assertEqual(logins() - before, 20)


if __name__ == "__main__":
    unittest.main()
