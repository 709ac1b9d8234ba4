"""Three mongooseim nodes of one cluster and one store: users are reached wherever their sessions are,
also when a node is killed."""

import re
import select
import threading
import unittest

from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.raw_xmpp import RawXmpp
from lib.wait import wait_until

DOMAIN = "chat.example"
USERS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace")
CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"


class Sessions(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        store = cls.workspace.path("shared.db")
        cls.nodes = [Mongooseim(cls.workspace, cls.epmd, name) for name in ("n1", "n2", "n3")]
        for node in cls.nodes:
            node.write("etc/mongooseim.toml", f'[http]\nlisten = ["127.0.0.1:{node.http}"]\n')
            node.serve(cls.authority, DOMAIN, c2s={"workers": 2}, store={"url": f"sqlite:{store}"},
                       auth={"failures_per_address": "0"}).live()
        for node in cls.nodes[1:]:
            done = node.ctl("join_cluster", "-f", cls.nodes[0].name)
            assert done.code == 0, done
        for user in USERS:
            cls.nodes[0].register(user, "secret")
        cls.reached()

    @classmethod
    def reached(cls, nodes=None):
        """Each knows that it reaches the clients of the others."""
        nodes = nodes or cls.nodes
        for node in nodes:
            wait_until(lambda node=node: cls.metric(node, "mongooseim_nodes_reached") ==
                       len(nodes) - 1, f"{node.name} reaches {len(nodes) - 1} others")

    @staticmethod
    def metric(node, name):
        found = re.search(rf"^{name} (\S+)$", node.get("/metrics")[1], re.M)
        return int(found[1]) if found else None

    def client(self, node, user, resource="x", **how):
        client = self.raw(node).login(user, "secret", resource, **how)
        self.addCleanup(client.cut)
        return client

    def raw(self, node):
        return RawXmpp(self.nodes[node].tls_endpoint, DOMAIN, self.authority.ca_file)

    @staticmethod
    def counted(client, number):
        """So many of what the client said since it asked for it is delivered or durable."""
        wait_until(lambda: client.say("<r xmlns='urn:xmpp:sm:3'/>") or
                   f"h='{number}'" in client.until("<a xmlns='urn:xmpp:sm:3'") + client.until("/>"),
                   f"{number} are counted")

    # --- the stories
    def test_messages_reach_users_of_other_nodes_in_order(self):
        alice, bob = self.client(0, "alice"), self.client(1, "bob")
        for i in range(200):
            alice.message(f"bob@{DOMAIN}", f"a{i}")
            bob.message(f"alice@{DOMAIN}/x", f"b{i}")
        self.assertEqual([bob.body() for _ in range(200)], [f"a{i}" for i in range(200)])
        self.assertEqual([alice.body() for _ in range(200)], [f"b{i}" for i in range(200)])

    def rooms(self):
        return sum(self.metric(node, "mongooseim_muc_rooms") for node in self.nodes)

    def test_a_room_is_one_for_users_of_all_nodes(self):
        room = f"den@conference.{DOMAIN}"
        people = [self.client(node, user) for node, user in enumerate(("alice", "bob", "carol"))]
        for i, client in enumerate(people):
            client.say(f"<presence to='{room}/n{i}'><x xmlns='http://jabber.org/protocol/muc'/>"
                       "</presence>")
            seen = client.until("code='110'")
            for other in range(i):
                self.assertIn(f"from='{room}/n{other}'", seen, f"n{i} sees who is there")
            if i == 0:
                self.assertIn("type='result'", client.iq(
                    "set", "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                    "<x xmlns='jabber:x:data' type='submit'/></query>", room))
        self.assertEqual(self.rooms(), 1)
        for i, client in enumerate(people):
            for n in range(20):
                client.say(f"<message to='{room}' type='groupchat'><body>{i} {n}</body></message>")
        for client in people:
            heard = [client.body() for _ in range(60)]
            for i in range(3):
                self.assertEqual([body for body in heard if body.startswith(f"{i} ")],
                                 [f"{i} {n}" for n in range(20)], "each once, in order")
        for i, client in enumerate(people):
            client.say(f"<presence to='{room}/n{i}' type='unavailable'/>")
            client.until("code='110'")
        wait_until(lambda: self.rooms() == 0, "a temporary room goes with its last occupant")

    def test_sessions_of_one_user_on_two_nodes_are_one_account(self):
        alice = self.client(0, "alice")
        desk, phone = self.client(1, "bob", "desk"), self.client(2, "bob", "phone")
        for session in (desk, phone):
            self.assertIn("type='result'", session.iq("set", CARBONS))
        # To one of them: the other has a carbon, wherever it is.
        for target, other in ((desk, phone), (phone, desk)):
            alice.message(target.full, f"to {target.full}")
            self.assertEqual(target.body(), f"to {target.full}")
            other.until("<received xmlns='urn:xmpp:carbons:2'")
            self.assertIn(f"to {target.full}<", other.until("</message>"))
        desk.message(alice.full, "from the desk")
        self.assertEqual(alice.body(), "from the desk")
        phone.until("<sent xmlns='urn:xmpp:carbons:2'")
        # Presence of the one is seen by the other, and its end.
        phone.present("<show>away</show>")
        self.assertIn("<show>away</show>", desk.until("</presence>"))
        phone.leave()
        self.assertIn("/phone'", desk.until("type='unavailable'") + desk.until(">"))

    def test_presence_and_requests_go_between_contacts_of_two_nodes(self):
        carol, dave = self.client(0, "carol"), self.client(2, "dave")
        carol.iq("get", "<query xmlns='jabber:iq:roster'/>")
        carol.say(f"<presence to='dave@{DOMAIN}' type='subscribe'/>")
        dave.until("type='subscribe'")
        dave.say(f"<presence to='carol@{DOMAIN}' type='subscribed'/>")
        carol.until("type='subscribed'")
        dave.say("<presence><show>dnd</show></presence>")
        carol.until("<show>dnd</show>")
        # An IQ to the full address is answered by that client.
        carol.say(f"<iq type='get' id='v' to='{dave.full}'><query xmlns='jabber:iq:version'/></iq>")
        dave.until("jabber:iq:version")
        dave.say(f"<iq type='result' id='v' to='{carol.full}'/>")
        carol.until("id='v'")
        dave.cut()
        carol.until("type='unavailable'")

    def test_the_roster_of_a_session_on_another_node_is_pushed(self):
        one, two = self.client(0, "erin", "one"), self.client(1, "erin", "two")
        two.iq("get", "<query xmlns='jabber:iq:roster'/>")
        one.iq("set", "<query xmlns='jabber:iq:roster'><item jid='x@chat.example' name='X'/></query>")
        self.assertIn("name='X'", two.until("</query>"))

    def test_what_waits_is_delivered_on_another_node_and_archived_for_all(self):
        alice = self.client(0, "alice")
        for i in range(5):
            alice.message(f"frank@{DOMAIN}", f"w{i}")
        alice.sync()
        wait_until(lambda: "<count>5</count>" in self.archived("frank", 1, presence=False),
                   "five are in the archive")
        frank = self.client(2, "frank")
        self.assertEqual([frank.body() for _ in range(5)], [f"w{i}" for i in range(5)])
        frank.leave()
        again = self.client(1, "frank", "again")
        again.message(f"frank@{DOMAIN}/again", "end")
        self.assertEqual(again.body(), "end")

    def archived(self, user, node, **how):
        client = self.client(node, user, "archive", **how)
        answer = client.iq("set", "<query xmlns='urn:xmpp:mam:2'>"
                                  "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set></query>")
        client.leave()
        return answer

    def test_an_address_that_is_bound_again_on_another_node_ends_the_older(self):
        old = self.client(0, "grace", "same")
        new = self.client(1, "grace", "same")
        self.assertIn("<conflict ", old.until_closed())
        new.message(f"grace@{DOMAIN}/same", "here")
        self.assertEqual(new.body(), "here")

    def test_of_a_killed_node_nothing_is_lost(self):
        alice = self.client(0, "alice", "k")
        previd = alice.manage()
        self.assertTrue(previd)
        bob = self.client(1, "bob", "k")
        lodger = self.client(0, "bob", "lodger", presence=False)  # at home where bob is
        alice.message(f"bob@{DOMAIN}", "before")
        self.assertEqual(bob.body(), "before")
        self.counted(alice, 1)  # else it would be routed anew: its node may have died before it had it
        lost = bob.manage()
        self.nodes[1].process.kill()
        self.workspace.processes.remove(self.nodes[1].process)
        for i in range(50):
            alice.message(f"bob@{DOMAIN}", f"k{i}")
        # Its session's home is gone: it may come back at once.
        self.assertIn("<reset ", lodger.until_closed())
        self.reached([self.nodes[0], self.nodes[2]])
        self.counted(alice, 51)
        bob = self.raw(2).authenticate("bob", "secret")
        self.assertIn("<item-not-found ", bob.resume(lost, 0))
        bob.bind("k").present()
        self.addCleanup(bob.cut)
        heard = [bob.body() for _ in range(50)]
        self.assertEqual(heard, [f"k{i}" for i in range(50)])
        bob.message(f"bob@{DOMAIN}/k", "end")
        self.assertEqual(bob.body(), "end")
        self.nodes[1].live()
        self.reached()
        carol = self.client(1, "carol", "k")
        carol.message(f"bob@{DOMAIN}", "the node is back")
        self.assertEqual(bob.body(), "the node is back")

    def test_a_node_that_stops_in_order_gives_back_what_its_clients_had_not(self):
        alice = self.client(0, "alice", "s")
        bob = self.client(2, "bob", "s")
        alice.message(f"bob@{DOMAIN}", "before")
        self.assertEqual(bob.body(), "before")
        done = self.nodes[2].ctl("stop")
        self.assertEqual(done.code, 0, done)
        self.assertIn("<system-shutdown ", bob.until_closed())
        for i in range(10):
            alice.message(f"bob@{DOMAIN}", f"s{i}")
        alice.sync()
        bob = self.client(1, "bob", "s")
        self.assertEqual([bob.body() for _ in range(10)], [f"s{i}" for i in range(10)])
        self.nodes[2].live()
        self.reached()

    def test_a_session_is_resumed_on_another_node(self):
        alice, bob = self.client(0, "alice", "r"), self.client(1, "bob", "r")
        previd = bob.manage()
        alice.message(f"bob@{DOMAIN}", "one")
        self.assertEqual(bob.body(), "one")
        bob.cut()
        alice.message(f"bob@{DOMAIN}", "two")
        second = self.raw(2).authenticate("bob", "secret")
        answer = second.resume(previd, 1)
        self.assertIn("<resumed ", answer)
        self.assertIn(f"previd='{previd}'", answer)
        self.assertEqual(second.body(), "two")
        alice.message(bob.full, "three")
        self.assertEqual(second.body(), "three")
        second.message(alice.full, "back")
        self.assertEqual(alice.body(), "back")
        second.say("<r xmlns='urn:xmpp:sm:3'/>")
        second.until("<a xmlns='urn:xmpp:sm:3' h='1'/>")
        # By the first id again, on the node that it came from, while the second connection is half open.
        third = self.raw(1).authenticate("bob", "secret")
        answer = third.resume(previd, 3)
        self.assertIn("<resumed ", answer)
        self.assertIn(f"previd='{previd}'", answer)
        self.assertIn("h='1'", answer)
        self.assertIn("<conflict ", second.until_closed())
        alice.message(f"bob@{DOMAIN}", "four")
        self.assertEqual(third.body(), "four")
        third.say("<a xmlns='urn:xmpp:sm:3' h='4'/>")
        second.cut()
        third.leave()
        fourth = self.raw(0).authenticate("bob", "secret")
        self.assertIn("<item-not-found ", fourth.resume(previd, 4))
        fourth.cut()

    def test_of_two_that_resume_on_two_nodes_one_has_the_session(self):
        alice, bob = self.client(0, "alice", "t"), self.client(1, "bob", "t")
        for _ in range(5):
            previd = bob.manage()
            bob.cut()
            racers = [self.raw(i).authenticate("bob", "secret") for i in (0, 2)]
            for racer in racers:
                racer.say(f"<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='0'/>")
            answers = []
            for racer in racers:
                answer = racer.until(">")
                while not any(word in answer for word in ("<resumed ", "</failed>")):
                    answer += racer.until(">")
                answers.append("<resumed " in answer)
            self.assertIn(True, answers)
            if all(answers):  # the one that came first gave it to the other
                told = wait_until(lambda: select.select([racer.socket for racer in racers], [], [], 0)[0],
                                  "one is told that the other has it")
                self.assertEqual(len(told), 1)
                winner = next(racer for racer in racers if racer.socket not in told)
                loser = next(racer for racer in racers if racer is not winner)
                self.assertIn("<conflict ", loser.until_closed())
            else:
                winner = racers[answers.index(True)]
            alice.message(bob.full, "who has it?")
            self.assertEqual(winner.body(), "who has it?")
            winner.say("<a xmlns='urn:xmpp:sm:3' h='1'/>")
            winner.leave()
            for racer in racers:
                if racer is not winner:
                    racer.cut()
            bob = self.client(1, "bob", "t")

    def test_a_drained_session_is_resumed_on_another_node_with_all_that_it_has(self):
        node = self.nodes[2]
        alice = self.client(0, "alice", "d")
        ids, clients = [], []
        for user in ("bob", "carol", "dave"):
            client = self.client(2, user, "d")
            ids.append(client.manage())
            clients.append(client)
        plain = self.client(2, "erin", "d")  # cannot resume: it is told why it goes
        done = node.ctl("drain", "--rate", "50")
        self.assertEqual(done.code, 0, done)
        for client in clients:
            self.assertEqual(client.until_closed().count("<stream:error"), 0)
        self.assertIn("<system-shutdown ", plain.until_closed())
        for i, user in enumerate(("bob", "carol", "dave")):
            alice.message(f"{user}@{DOMAIN}/d", f"while {user} is away")
            back = self.raw(i % 2).authenticate(user, "secret")
            self.assertIn("<resumed ", back.resume(ids[i], 0))
            self.assertEqual(back.body(), f"while {user} is away")
            back.say("<a xmlns='urn:xmpp:sm:3' h='1'/>")
            back.leave()
        wait_until(lambda: node.ctl("drain", "--wait").out.endswith("Drained\n"), "nobody is left")
        # It is in service again when it starts anew.
        self.assertEqual(node.ctl("stop").code, 0)
        node.live()
        self.reached()

    def test_behind_a_drain_a_stop_ends_no_session_elsewhere_and_nothing_is_lost_or_doubled(self):
        node = self.nodes[2]
        users = ("alice", "bob", "carol", "dave")
        first = {user: self.client(2, user, "h") for user in users}  # so they are at home there
        ids = {user: client.manage() for user, client in first.items()}
        second = {user: self.client(i % 2, user, "other") for i, user in enumerate(users)}
        lost = sum(self.metric(other, "mongooseim_lodgers_lost_total") for other in self.nodes[:2])
        self.assertEqual(node.ctl("drain", "--rate", "100").code, 0)
        for client in first.values():
            self.assertEqual(client.until_closed().count("<stream:error"), 0)
        back = {}
        for i, user in enumerate(users):
            back[user] = self.raw(i % 2).authenticate(user, "secret")
            self.addCleanup(back[user].cut)
            self.assertIn("<resumed ", back[user].resume(ids[user], 0))
        said = 0
        # They speak all the time, over drain, stop and after.
        heard = {user: [] for user in users}
        talk = threading.Event()
        failures = []

        def speak():
            nonlocal said
            try:
                while not talk.is_set():
                    for i, user in enumerate(users):
                        second[user].message(f"{users[i - 1]}@{DOMAIN}/other", f"{user} {said}")
                    for user in users:
                        heard[user].append(second[user].body())
                    said += 1
            except Exception as failure:  # a session that ended
                failures.append(failure)

        speaker = threading.Thread(target=speak)
        speaker.start()
        try:
            done = node.ctl("drain", "--wait")
            self.assertTrue(done.out.endswith("Drained\n"), done)
            self.assertEqual(self.metric(node, "mongooseim_guests"), 0)
            self.assertGreaterEqual(self.metric(node, "mongooseim_homes_moved_total"), len(users))
            at_drain = said
            self.assertEqual(node.ctl("stop").code, 0)
            self.reached(self.nodes[:2])
            wait_until(lambda: failures or said > at_drain + 50, "they speak on")
        finally:
            talk.set()
            speaker.join(30)
        self.assertEqual(failures, [])
        for i, user in enumerate(users):
            sender = users[(i + 1) % len(users)]
            self.assertEqual(heard[user], [f"{sender} {n}" for n in range(said)], user)
        for client in (*second.values(), *back.values()):
            self.assertNotIn("<stream:error", client.sync().heard)
        self.assertEqual(sum(self.metric(other, "mongooseim_lodgers_lost_total")
                             for other in self.nodes[:2]), lost)
        node.live()
        self.reached()

    def test_occupants_of_a_killed_nodes_room_are_told(self):
        room = f"doomed@conference.{DOMAIN}"
        people = {at: self.client(at, user, "o")  # who has no session elsewhere
                  for at, user in enumerate(("erin", "frank", "grace"))}
        nicks = {0: "er", 1: "fr", 2: "gr"}

        def enter(*all_of_them):
            for at in all_of_them:
                people[at].say(f"<presence to='{room}/{nicks[at]}'>"
                               "<x xmlns='http://jabber.org/protocol/muc'/></presence>")
                people[at].until("code='110'")
                if at == all_of_them[0]:  # who makes it
                    people[at].iq("set", "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                                  "<x xmlns='jabber:x:data' type='submit'/></query>", room)

        enter(2, 0, 1)
        has = [at for at in range(3) if self.metric(self.nodes[at], "mongooseim_muc_rooms") == 1]
        self.assertEqual(len(has), 1)
        dead = has[0]
        self.nodes[dead].process.kill()
        self.workspace.processes.remove(self.nodes[dead].process)
        others = [at for at in range(3) if at != dead]
        for at in others:
            told = people[at].until("code='332'")
            self.assertIn(f"from='{room}/{nicks[at]}'", told)
            self.assertIn("type='unavailable'", told)
            self.assertIn("code='110'", told)
        self.reached([self.nodes[at] for at in others])
        enter(*others)  # and they may come back, to a room that is there
        self.nodes[dead].live()
        self.reached()

    def test_a_drain_that_nobody_could_take_is_refused(self):
        for node in self.nodes[:2]:
            self.assertEqual(node.ctl("stop").code, 0)
        alice = self.client(2, "alice", "f")
        refused = self.nodes[2].ctl("drain")
        self.assertEqual(refused.code, 1)
        self.assertIn("no other node is there to take ", refused.out)
        alice.sync()
        for node in self.nodes[:2]:
            node.live()
        self.reached()

    def test_a_surplus_is_shed_to_the_others_and_no_more(self):
        users = ("alice", "bob", "carol", "dave", "erin", "frank")
        clients = [self.client(1, user, "b") for user in users]
        ids = [client.manage() for client in clients]

        def counts():
            return {self.metric(node, "sm_total_sessions_count") for node in self.nodes}
        wait_until(lambda: len(counts()) == 1 and min(counts()) >= len(users), "all are known")
        mean = min(counts()) / 3
        here = self.metric(self.nodes[1], "sm_node_sessions_count")
        detached = self.metric(self.nodes[1], "mongooseim_c2s_detached")
        done = self.nodes[1].ctl("rebalance", "--rate", "100", "--epsilon", "0.1")
        self.assertEqual(done.code, 0, done)
        surplus = int(here - detached - 1.1 * mean)
        self.assertIn(f"Sheds {surplus} of {here} sessions", done.out)
        shed = int(re.search(r"Shed (\d+): (\d+) may resume", done.out)[1])
        self.assertEqual(shed, int(re.search(r"Shed (\d+): (\d+) may resume", done.out)[2]))
        self.assertEqual(shed, surplus)
        # They are on their way: nobody else has to go for them.
        at_once = self.nodes[1].ctl("rebalance", "--rate", "100", "--epsilon", "0.1")
        self.assertIn("Nothing to shed", at_once.out)
        gone = [i for i, client in enumerate(clients)
                if select.select([client.socket], [], [], 0.5)[0]
                and "<stream:error" not in client.until_closed()]
        self.assertEqual(len(gone), shed)
        for i in gone:
            back = self.raw(0).authenticate(users[i], "secret")
            self.assertIn("<resumed ", back.resume(ids[i], 0))
            back.leave()
        for i, client in enumerate(clients):
            if i not in gone:
                client.leave()
        again = self.nodes[0].ctl("rebalance")
        self.assertIn("Nothing to shed", again.out)

    def test_counts_of_the_cluster_are_the_same_on_all_nodes(self):
        sessions = [self.client(i, "grace", f"c{i}") for i in range(3)]
        for node in self.nodes:
            wait_until(lambda node=node: self.metric(node, "sm_unique_sessions_count") >= 1,
                       "the sessions are known")
        total = {self.metric(node, "sm_total_sessions_count") for node in self.nodes}
        self.assertEqual(len(total), 1)
        for session in sessions:
            session.leave()


if __name__ == "__main__":
    unittest.main()
