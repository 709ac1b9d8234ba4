"""What a sender's <a/> has counted (XEP-0198) is with the recipient, in the archive, waits, or came
back, once: a node that is killed under load, a PostgreSQL that stops, stalls, or is cut off while it
commits, a disk that is full.

DURABILITY_ROUNDS and DURABILITY_PAIRS: more of both as a soak. Seeds are the rounds' numbers.
"""

import asyncio
import os
import random
import re
import signal
import unittest

from lib import net
from lib.accounts import add_to_postgres, add_to_sqlite
from lib.case import EndToEndCase
from lib.cut_proxy import CutProxy
from lib.erl import Epmd
from lib.load_xmpp import KINDS, Load
from lib.mongooseim import Mongooseim
from lib.postgres import Postgres
from lib.sm_client import SmClient
from lib.wait import wait_until

DOMAIN = "chat.example"
ROUNDS = int(os.environ.get("DURABILITY_ROUNDS", "5"))
PAIRS = int(os.environ.get("DURABILITY_PAIRS", "24"))


class Node(Mongooseim):
    """A node whose clients come from a balancer, with some store."""

    def __init__(self, workspace, epmd, name, url, prefix=(), **c2s):
        super().__init__(workspace, epmd, name)
        self.prefix = prefix
        self.epmd = epmd
        self.proxied = net.free_port()
        text = self.read("etc/mongooseim.toml")
        for key, value in {"listen": "[]", "listen_tls": "[]", "workers": "2", "url": f'"{url}"',
                           "listen_proxy": f'["127.0.0.1:{self.proxied}"]',
                           "proxy_from": '["127.0.0.0/8"]', **c2s}.items():
            text, times = re.subn(rf"^#{key} = .*$", f"{key} = {value}", text, flags=re.M)
            assert times == 1, key
        self.write("etc/mongooseim.toml", text + f'\n[[host]]\ndomain = "{DOMAIN}"\n')

    def kill(self):
        """As kill -9 does it; gone, for epmd as well, when this returns."""
        self.process.kill()
        wait_until(lambda: self.alive not in self.epmd.names(), "epmd has seen it")


class Durability(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.epmd = Epmd(cls.workspace).start()

    def judged(self, load, number):
        faults = asyncio.run(load.judge())
        self.assertEqual(faults, [], f"round {number}")

    # --- A node that is killed.

    def kill_rounds(self, node, rounds):
        messages = 0
        for number in range(rounds):
            node.live()
            load = Load(DOMAIN, node.proxied, PAIRS, number)

            async def scene():
                await load.begin()
                least = load.counted() + random.Random(number).randrange(PAIRS, 20 * PAIRS)
                await load.until(lambda: load.counted() >= least, "enough is counted")
                await asyncio.to_thread(node.kill)
                # What the kernel still had for us is read to its end.
                await load.until(lambda: all(p.sender.over for p in load.pairs), "all are cut off")
                await load.stop()
                load.cut()
            asyncio.run(scene())
            messages += sum(len(pair.sender.counted_ids()) for pair in load.pairs)
            node.live()
            self.judged(load, number)
            node.kill()
        print(f"{rounds} kills, {messages} messages were counted", flush=True)
        self.assertGreater(messages, rounds * PAIRS // 2)

    def test_a_node_that_is_killed_over_sqlite(self):
        node = Node(self.workspace, self.epmd, "killed", "sqlite:store.db")
        node.live()
        add_to_sqlite(node.path("store.db"), Load.names(PAIRS), DOMAIN)
        node.kill()
        self.kill_rounds(node, ROUNDS)

    def test_a_node_that_is_killed_over_postgresql(self):
        server = Postgres(self.workspace).start()
        self.addCleanup(server.remove)
        node = Node(self.workspace, self.epmd, "killedpg", server.url("killed"))
        node.live()
        add_to_postgres(server, "killed", Load.names(PAIRS), DOMAIN)
        node.kill()
        self.kill_rounds(node, max(2, ROUNDS // 2))

    # --- A store that fails.

    def on_postgres(self, name, proxied=False):
        server = Postgres(self.workspace).start()
        self.addCleanup(server.remove)
        proxy = CutProxy(server.port)
        self.addCleanup(proxy.close)
        node = Node(self.workspace, self.epmd, name,
                    server.url(name, proxy.port if proxied else None)).live()
        self.addCleanup(lambda: node.process.stop())
        add_to_postgres(server, name, Load.names(PAIRS), DOMAIN)
        return server, proxy, node

    def play(self, node, number, trouble, pairs=PAIRS):
        """Under load something happens; afterwards all that was said is accounted for."""
        load = Load(DOMAIN, node.proxied, pairs, number)

        async def scene():
            await load.begin()
            await load.until(lambda: load.counted() >= 3 * pairs, "a beginning")
            await trouble(load)
            before = load.counted()
            await load.until(lambda: load.counted() >= before + 3 * pairs, "it goes on")
            await load.settle()
            load.cut()
        asyncio.run(scene())
        self.judged(load, number)
        return load

    def test_postgresql_stops_as_in_a_power_cut_and_comes_back(self):
        server, _, node = self.on_postgres("stops")

        async def trouble(load):
            await asyncio.to_thread(server.stop)
            mark = load.counted()
            # Those who are there still talk to each other.
            await load.until(lambda: load.counted() >= mark + 3, "chat goes on")
            await asyncio.to_thread(server.start)
        for number in range(2):
            self.play(node, number, trouble)

    def test_postgresql_is_cut_off_during_commits(self):
        _, proxy, node = self.on_postgres("cuts", proxied=True)

        async def trouble(load):
            proxy.arm(number)
            mark = proxy.cuts
            await load.until(lambda: proxy.cuts >= mark + 5, "five cuts")
            proxy.disarm()
        for number in range(2):
            self.play(node, number, trouble)
        print(f"{proxy.cuts} cuts", flush=True)

    # --- A roster that is changed meanwhile.

    async def change_roster(self, client, stop, asked, done):
        """A contact after the other, each until it is told; `done` are those that are done."""
        number = 0
        while not stop.is_set():
            name = f"friend{number}@{DOMAIN}"
            asked.append(name)
            answer = await client.request(
                "set", f"<query xmlns='jabber:iq:roster'><item jid='{name}' name='n{number}'/>"
                "</query>", f"roster{number}")
            if answer.get("type") == "result":
                done.append(name)
            else:
                await asyncio.sleep(0.05)  # as a client that was told to wait
            number += 1

    async def roster_faults(self, node, asked, done):
        client = await SmClient("a0", DOMAIN, node.proxied, "look").login()
        answer = await client.request("get", "<query xmlns='jabber:iq:roster'/>", "look")
        there = [item.get("jid") for item in answer.iter("{jabber:iq:roster}item")]
        await client.close()
        return ([f"{name} was done and is lost" for name in done if name not in there] +
                [f"{name} is there twice" for name in set(there) if there.count(name) > 1] +
                [f"{name} was never asked for" for name in there if name not in asked])

    def play_with_roster(self, node, trouble):
        """As play(), with a roster that is changed all the time."""
        asked, done = [], []

        async def both(load):
            client = await SmClient("a0", DOMAIN, node.proxied, "roster").login(presence="")
            stop = asyncio.Event()
            changes = asyncio.ensure_future(self.change_roster(client, stop, asked, done))
            await load.until(lambda: len(done) >= 5, "changes are done")
            await trouble(load)
            mark = len(done)
            await load.until(lambda: len(done) >= mark + 5, "changes go on")
            stop.set()
            await changes
            await client.close()
        load = self.play(node, 0, both)
        self.assertEqual(asyncio.run(self.roster_faults(node, asked, done)), [])
        print(f"{load.counted()} stanzas were counted, {len(done)} of {len(asked)} changes done",
              flush=True)

    def test_postgresql_fails_over_to_its_standby(self):
        first = Postgres(self.workspace).start()
        self.addCleanup(first.remove)
        url = first.url("failover")
        second = first.standby()
        self.addCleanup(second.remove)
        host = f"127.0.0.1:{first.port}"
        node = Node(self.workspace, self.epmd, "failover",
                    url.replace(host, f"{host},127.0.0.1:{second.port}")).live()
        self.addCleanup(lambda: node.process.stop())
        add_to_postgres(first, "failover", Load.names(PAIRS), DOMAIN)

        async def trouble(load):
            # As its machine ends; what it has committed and not told is on the other.
            await asyncio.to_thread(first.stop)
            mark = load.counted()
            await load.until(lambda: load.counted() >= mark + 3, "chat goes on")
            await asyncio.to_thread(second.promote)
        self.play_with_roster(node, trouble)

    def test_while_the_store_stands_still_those_who_are_there_chat(self):
        server, _, node = self.on_postgres("still")

        async def scene():
            one = await SmClient("a0", DOMAIN, node.proxied, "x").login()
            other = await SmClient("b0", DOMAIN, node.proxied, "x").login()
            await one.ping()
            await other.ping()
            children = server.children()
            for pid in children:
                os.kill(pid, signal.SIGSTOP)
            try:
                for number in range(50):
                    one.message(other.bare, f"still{number}")
                load = Load(DOMAIN, node.proxied, 0, 0)
                # Delivered, acknowledged and counted, though nothing can be stored.
                await load.until(lambda: len(other.bodies) == 50, "all came", 10)
                await load.until(lambda: one.counted == len(one.sent), "all are counted", 10)
                # Somebody who is away: that must be stored, and waits; nothing is said of it yet.
                one.message(f"b1@{DOMAIN}", "waits")
                await one.ping("p1")
                self.assertEqual(one.errors, [])
            finally:
                for pid in children:
                    os.kill(pid, signal.SIGCONT)
            await load.until(lambda: one.counted >= len(one.sent) - 2, "it is stored")
            self.assertEqual(one.errors, [])
            away = await SmClient("b1", DOMAIN, node.proxied, "x").login()
            await load.until(lambda: away.bodies == ["waits"], "it comes")
            self.assertEqual(len(await other.archive()), 50)
            for client in (one, other, away):
                await client.close()
        asyncio.run(scene())

    def test_a_disk_that_is_full_sends_back_what_it_cannot_keep(self):
        mount = ("unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=48m none "
                 f"{self.workspace.path('disk')} && exec \"$@\"", "sh")
        self.workspace.make_dir("disk")
        node = Node(self.workspace, self.epmd, "full",
                    f"sqlite:{self.workspace.path('disk')}/store.db", prefix=mount).live()
        inside = f"/proc/{node.pid()}/root{self.workspace.path('disk')}"
        node.domain = DOMAIN
        for name in Load.names(len(KINDS) * 2):
            node.register(name, "secret")
        ballast = os.open(f"{inside}/ballast", os.O_CREAT | os.O_WRONLY)
        self.addCleanup(os.close, ballast)

        async def trouble(load):
            with self.assertRaises(OSError):
                while True:
                    os.write(ballast, bytes(1 << 16))
            await load.until(lambda: any(pair.sender.errors for pair in load.pairs),
                             "what cannot be kept comes back")
            os.ftruncate(ballast, 0)
        load = self.play(node, 0, trouble, len(KINDS) * 2)
        self.assertTrue(any(pair.sender.errors for pair in load.pairs))
        wait_until(lambda: node.get("/readyz")[0] == 200, "the node is well")
        node.process.stop()


if __name__ == "__main__":
    unittest.main()
