"""Operators' commands on three nodes of one cluster: whichever node is asked, they reach a user's home,
a room and the sessions wherever these are, and a node that does not answer is named."""

import concurrent.futures
import contextlib
import json
import os
import signal
import sqlite3
import time
import unittest

from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.raw_xmpp import RawXmpp
from lib.wait import wait_until

DOMAIN = "chat.example"
ROOMS = f"conference.{DOMAIN}"
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"


def jid(user, resource=None):
    return f"{user}@{DOMAIN}" + (f"/{resource}" if resource else "")


class Cluster(EndToEndCase):
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
        cls.reached()

    @classmethod
    def reached(cls):
        for node in cls.nodes:
            wait_until(lambda node=node: "mongooseim_nodes_reached 2\n" in node.get("/metrics")[1],
                       f"{node.name} reaches two others")

    def user(self, name):
        """Of this test alone."""
        name = f"{name}-{self.id().rpartition('.')[2][5:25]}"
        self.nodes[0].register(name, "secret")
        return name

    def client(self, node, user, resource="x", **how):
        client = RawXmpp(self.nodes[node].tls_endpoint, DOMAIN, self.authority.ca_file)
        self.addCleanup(client.cut)
        client.login(user, "secret", resource, **how)
        # All nodes know of it.
        for each in self.nodes:
            wait_until(lambda each=each: resource in each.lines("user_resources", user, DOMAIN),
                       f"{each.name} knows of {client.full}")
        return client

    def answer(self, node, *words, code=0):
        done = self.nodes[node].ctl(*words)
        self.assertEqual(done.code, code, (self.nodes[node].name, words, done))
        return json.loads(done.out)

    def data(self, node, category, command, *words):
        return self.answer(node, category, command, *words)["data"][category][command]

    def fault(self, node, category, command, *words):
        errors = self.answer(node, category, command, *words, code=1)["errors"]
        self.assertEqual(len(errors), 1, errors)
        return errors[0]["extensions"]["code"], errors[0]["message"]


class Users(Cluster):
    def test_a_session_is_kicked_from_any_node(self):
        user = self.user("kick")
        for asked in range(3):
            for home in range(3):
                client = self.client(home, user, f"k{asked}{home}")
                kicked = self.data(asked, "session", "kickUserSession", "--user", client.full,
                                   "--reason", "enough")
                self.assertEqual((kicked["kicked"], kicked["code"]), (True, None), (asked, home))
                self.assertIn("<conflict ", client.until_closed())
        self.assertFalse(self.data(1, "session", "kickUserSession", "--user", jid(user, "none"))["kicked"])
        sessions = [self.client(home, user, f"all{home}") for home in range(3)]
        kicked = self.data(2, "session", "kickUser", "--user", jid(user))
        self.assertEqual(sorted(one["jid"] for one in kicked), [session.full for session in sessions])
        for session in sessions:
            self.assertIn("<conflict ", session.until_closed())
        client = self.client(0, user, "flat")
        self.assertEqual(self.nodes[1].lines("kick_session", user, DOMAIN, "flat", "enough"),
                         ["Session kicked"])
        self.assertIn("<conflict ", client.until_closed())

    def test_a_ban_ends_sessions_on_all_nodes(self):
        user = self.user("ban")
        sessions = [self.client(home, user, f"b{home}") for home in (0, 1)]
        self.data(2, "account", "banUser", "--user", jid(user), "--reason", "spam")
        for session in sessions:
            self.assertIn("<conflict ", session.until_closed())
        for node in range(3):
            with self.assertRaises(AssertionError):
                self.client(node, user, "again")

    def test_a_removed_account_has_no_session_left(self):
        user = self.user("gone")
        sessions = [self.client(home, user, f"g{home}") for home in (1, 2)]
        self.data(0, "account", "removeUser", "--user", jid(user))
        for session in sessions:
            self.assertIn("<not-authorized ", session.until_closed())

    def test_sessions_are_listed_whole_on_every_node(self):
        user = self.user("list")
        sessions = {client.full: (home, client) for home in range(3)
                    for client in [self.client(home, user, f"l{home}")]}
        for home, client in sessions.values():
            client.present(f"<show>xa</show><status>list {home}</status><priority>{home + 3}</priority>")
        seen = []
        for asked in range(3):
            listed = self.data(asked, "session", "listUserSessions", "--user", jid(user))
            self.assertEqual([one["user"] for one in listed], sorted(sessions))
            for one in listed:
                home, client = sessions[one["user"]]
                self.assertEqual((one["node"], one["ip"], one["port"], one["connection"],
                                  one["priority"]),
                                 (self.nodes[home].name, "127.0.0.1",
                                  client.socket.getsockname()[1], "c2s_tls", home + 3))
                self.assertLess(one["uptime"], 120)
            away = [one for one in self.data(asked, "session", "listUsersWithStatus", "--status", "xa")
                    if one["user"] in sessions]
            self.assertEqual([one["text"] for one in away], ["list 0", "list 1", "list 2"])
            seen.append(self.data(asked, "session", "countUsersWithStatus", "--status", "xa"))
            self.assertEqual(self.data(asked, "session", "countUserResources", "--user", jid(user)), 3)
            whole = self.data(asked, "session", "listSessions", "--domain", DOMAIN)
            self.assertEqual(len(whole), self.data(asked, "session", "countSessions"))
            self.assertTrue(all(one["ip"] for one in whole), whole)
        self.assertEqual(len(set(seen)), 1, seen)

    def test_presence_is_set_and_stanzas_are_sent_from_any_node(self):
        user, other = self.user("pres"), self.user("send")
        client, friend = self.client(1, user), self.client(2, other)
        for asked in range(3):
            said = self.data(asked, "session", "setPresence", "--user", client.full, "--type",
                             "AVAILABLE", "--show", "DND", "--status", f"from {asked}")
            self.assertEqual(said["message"], "Presence set successfully")
            self.assertIn(f"from {asked}", client.until("</presence>"))
            self.data(asked, "stanza", "sendMessage", "--from", jid(user), "--to", friend.full,
                      "--body", f"message {asked}")
            self.assertEqual(friend.body(), f"message {asked}")
            self.data(asked, "stanza", "sendStanza", "--stanza",
                      f"<message from='{client.full}' to='{friend.full}'><body>s{asked}</body></message>")
            self.assertEqual(friend.body(), f"s{asked}")

    def test_what_is_sent_in_a_users_name_is_copied_to_its_sessions(self):
        user, other = self.user("carb"), self.user("copy")
        client = self.client(1, user)
        client.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
        for asked in range(3):
            self.data(asked, "stanza", "sendMessage", "--from", jid(user), "--to", jid(other),
                      "--body", f"copied {asked}")
            client.until("<sent xmlns='urn:xmpp:carbons:2'")
            self.assertIn(f"copied {asked}<", client.until("</message>"))

    def test_changes_of_a_roster_are_pushed_to_its_sessions(self):
        user = self.user("ros")
        contacts = [self.user(f"c{i}") for i in range(3)]
        client = self.client(1, user)
        client.iq("get", "<query xmlns='jabber:iq:roster'/>")
        for asked, contact in enumerate(contacts):
            self.data(asked, "roster", "addContact", "--user", jid(user), "--contact", jid(contact),
                      "--name", f"N{asked}", "--groups", '["g"]')
            self.assertIn(f"name='N{asked}'", client.until("</query>"))
        self.data(0, "roster", "setMutualSubscription", "--userA", jid(user), "--userB",
                  jid(contacts[0]), "--action", "CONNECT")
        for node in range(3):
            for one, its in ((user, contacts[0]), (contacts[0], user)):
                wait_until(lambda: self.data(node, "roster", "getContact", "--user", jid(one),
                                             "--contact", jid(its))["subscription"] == "BOTH",
                           f"{node} knows that {one} and {its} see each other")
        self.data(2, "roster", "deleteContact", "--user", jid(user), "--contact", jid(contacts[1]))
        client.until("subscription='remove'")
        left = {one["jid"] for one in self.data(0, "roster", "listContacts", "--user", jid(user))}
        self.assertEqual(left, {jid(contacts[0]), jid(contacts[2])})

    def test_what_one_node_stores_of_a_user_all_others_tell(self):
        user = self.user("stor")
        client = self.client(2, user)
        for node in range(3):
            self.data(node, "vcard", "setVcard", "--user", jid(user), "--vcard",
                      json.dumps({"formattedName": f"N{node}"}))
            self.data(node, "private", "setPrivate", "--user", jid(user), "--elementString",
                      f"<a xmlns='b'>{node}</a>")
            self.data(node, "last", "setLast", "--user", jid(user), "--status", f"s{node}")
            for other in range(3):
                self.assertEqual(self.data(other, "vcard", "getVcard", "--user", jid(user))
                                 ["formattedName"], f"N{node}")
                self.assertIn(f">{node}<", self.data(other, "private", "getPrivate", "--user",
                                                     jid(user), "--element", "a", "--nameSpace", "b"))
                self.assertEqual(self.data(other, "last", "getLast", "--user", jid(user))["status"],
                                 f"s{node}")
        client.leave()

    def test_a_broadcast_is_one_for_all_nodes_and_reaches_all(self):
        users = [self.user(f"cast{i}") for i in range(3)]
        clients = [self.client(home, user) for home, user in enumerate(users)]
        sender = jid(users[0])
        start = ["broadcast", "startBroadcast", "--domain", DOMAIN, "--senderJid", sender,
                 "--messageSubject", "s", "--messageBody", "to all", "--recipientGroup",
                 "ALL_USERS_IN_DOMAIN"]
        slow = self.data(1, *start, "--name", "slow", "--messageRate", "1")["ids"][0]
        for node in range(3):
            self.assertEqual(self.fault(node, *start, "--name", "second", "--messageRate", "1")[0],
                             "already_running")
            one = self.data(node, "broadcast", "getBroadcast", "--domain", DOMAIN, "--id", str(slow))
            self.assertEqual((one["name"], one["executionState"]), ("slow", "RUNNING"))
            self.assertEqual([job["id"] for job in self.data(node, "broadcast", "getBroadcasts",
                                                             "--domain", DOMAIN)], [slow])
        self.data(2, "broadcast", "abortBroadcast", "--domain", DOMAIN, "--id", str(slow))
        self.assertEqual(self.fault(0, "broadcast", "abortBroadcast", "--domain", DOMAIN, "--id",
                                    str(slow))[0], "not_running")
        fast = self.data(0, *start, "--name", "fast", "--messageRate", "1000")["ids"][0]
        self.assertGreater(fast, slow)
        for client in clients:
            client.until("to all")
        wait_until(lambda: self.data(1, "broadcast", "getBroadcast", "--domain", DOMAIN, "--id",
                                     str(fast))["executionState"] == "FINISHED", "it ends")
        gone = self.data(2, "broadcast", "deleteInactiveBroadcastsByDomain", "--domain", DOMAIN)
        self.assertEqual(sorted(gone["ids"]), [slow, fast])
        self.assertEqual(self.fault(0, "broadcast", "getBroadcast", "--domain", DOMAIN, "--id",
                                    str(fast))[0], "broadcast_not_found")

    def test_messages_that_wait_too_long_are_removed_at_their_homes(self):
        users = [self.user(f"off{i}") for i in range(3)]
        sender = self.user("offs")
        for user in users:
            for n in range(2):
                self.data(n, "stanza", "sendMessage", "--from", jid(sender), "--to", jid(user),
                          "--body", f"waits {n}")
        now_s = int(time.time())
        with contextlib.closing(sqlite3.connect(self.workspace.path("shared.db"), timeout=20)) as db:
            for user in users:
                for days, expires_s in ((3, 0), (4, 0), (5, now_s - 60)):
                    stamp = (now_s - days * 86400) * 1000000 << 8
                    db.execute("INSERT INTO offline VALUES (?, ?, ?, ?, ?)",
                               (jid(user), stamp, expires_s, jid(sender),
                                f"<message xmlns='jabber:client' from='{jid(sender)}'>"
                                f"<body>old {days}</body></message>"))
            db.commit()
        for command, removed in ((("deleteOldMessages", "--days", "9"), 0),
                                 (("deleteExpiredMessages",), 3),
                                 (("deleteOldMessages", "--days", "1"), 6)):
            for asked in range(3):
                self.assertEqual(self.data(asked, "offline", command[0], "--domain", DOMAIN,
                                           *command[1:]),
                                 f"Removed {removed if asked == 0 else 0} messages")
        for user in users:
            client = self.client(0, user)
            self.assertEqual([client.body() for _ in range(2)], ["waits 0", "waits 1"])
        self.assertEqual(self.fault(0, "offline", "deleteOldMessages", "--domain", "no.example",
                                    "--days", "1")[0], "domain_not_found")

    def test_numbers_of_all_nodes_are_told_by_each(self):
        for asked in range(3):
            told = self.data(asked, "metric", "getClusterMetricsAsDicts", "--name", '["global","uptime"]')
            self.assertEqual([one["node"] for one in told], [node.name for node in self.nodes])
            for one in told:
                self.assertEqual([metric["name"] for metric in one["result"]], [["global", "uptime"]])
                self.assertEqual(one["result"][0]["dict"][0]["key"], "value")
        one = self.data(0, "metric", "getClusterMetricsAsDicts", "--nodes",
                        json.dumps([self.nodes[2].name]), "--name", '["global","uptime"]')
        self.assertEqual([each["node"] for each in one], [self.nodes[2].name])

    def test_a_node_that_does_not_answer_is_named(self):
        user = self.user("mute")
        client, other = self.client(1, user), self.client(2, user, "other")
        pid = self.nodes[1].process.pid
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            # At once: after a while the node is out, and its sessions with it.
            with concurrent.futures.ThreadPoolExecutor() as pool:
                kick = pool.submit(self.fault, 0, "session", "kickUserSession", "--user", client.full)
                listed = pool.submit(self.answer, 2, "session", "listUserSessions", "--user", jid(user),
                                     code=1)
                code, message = kick.result()
                listed = listed.result()
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertLess(time.monotonic() - began, 20)
        self.assertEqual(code, "node_not_answering")
        self.assertIn(self.nodes[1].name, message)
        # What the others know is told all the same.
        self.assertEqual([(error["extensions"]["code"], error["extensions"]["node"])
                          for error in listed["errors"]], [("node_not_answering", self.nodes[1].name)])
        lines = {line["user"]: line for line in listed["data"]["session"]["listUserSessions"]}
        self.assertEqual(sorted(lines), sorted([client.full, other.full]))
        self.assertEqual((lines[client.full]["node"], lines[client.full]["ip"]),
                         (self.nodes[1].name, None))
        self.assertEqual((lines[other.full]["node"], lines[other.full]["ip"]),
                         (self.nodes[2].name, "127.0.0.1"))
        for node in self.nodes:
            node.wait_running(self.nodes)
        self.reached()


class Rooms(Cluster):
    def room(self):
        return f"{self.id().rpartition('.')[2][5:30]}@{ROOMS}"

    def enter(self, client, room, nick):
        client.say(f"<presence to='{room}/{nick}'>{MUC}</presence>")
        return client.until("code='110'")

    def test_a_room_of_an_operator_is_ruled_from_any_node(self):
        owner, guest = self.user("own"), self.user("gue")
        one, two = self.client(0, owner), self.client(1, guest)
        room = self.room()
        made = self.data(2, "muc", "createInstantRoom", "--room", room, "--owner", one.full, "--nick",
                         "first")
        self.assertEqual(made, {"jid": room, "title": room.split("@")[0], "private": False,
                                "usersNumber": 0})
        one.until("code='110'")
        self.data(1, "muc", "inviteUser", "--room", room, "--sender", jid(owner), "--recipient",
                  jid(guest), "--reason", "come")
        two.until("<x xmlns='jabber:x:conference'")
        self.assertIn(f"jid='{room}'", two.until("</message>"))
        self.enter(two, room, "second")
        for asked in range(3):
            people = self.data(asked, "muc", "listRoomUsers", "--room", room)
            self.assertEqual([(one["jid"], one["nick"], one["role"]) for one in people],
                             [(one.full, "first", "MODERATOR"), (two.full, "second", "PARTICIPANT")])
            self.assertEqual(self.data(asked, "muc", "listRoomAffiliations", "--room", room),
                             [{"jid": jid(owner), "affiliation": "OWNER"}])
            listed = self.data(asked, "muc", "listRooms", "--mucDomain", ROOMS, "--from", jid(owner))
            self.assertIn({"jid": room, "title": room.split("@")[0], "private": False,
                           "usersNumber": 2}, listed["rooms"])
            said = self.data(asked, "muc", "sendMessageToRoom", "--room", room, "--from", two.full,
                             "--body", f"said {asked}")
            self.assertEqual(said, "Message sent successfully")
            for client in (one, two):
                self.assertEqual(client.body(), f"said {asked}")
            role = "VISITOR" if asked == 0 else "MODERATOR"
            self.assertEqual(self.data(asked, "muc", "setUserRole", "--room", room, "--nick", "second",
                                       "--role", role), "Role set successfully")
            self.assertIn(f"role='{role.lower()}'", two.until("</presence>"))
            self.data(asked, "muc", "setUserRole", "--room", room, "--nick", "second", "--role",
                      "PARTICIPANT")
        for asked in range(3):
            wait_until(lambda asked=asked: [
                stanza["stanza"].count("<body>said ") for stanza in self.data(
                    asked, "muc", "getRoomMessages", "--room", room)["stanzas"]] == [1, 1, 1],
                       "the archive has what was said")
        self.data(0, "muc", "sendPrivateMessage", "--room", room, "--from", one.full, "--toNick",
                  "second", "--body", "quietly")
        self.assertEqual(two.body(), "quietly")
        self.assertEqual(self.data(2, "muc", "kickUser", "--room", room, "--nick", "second", "--reason",
                                   "loud"), "Kick message sent successfully")
        self.assertIn("<reason>loud</reason>", two.until("code='307'"))
        self.assertEqual(self.fault(1, "muc", "kickUser", "--room", room, "--nick", "second")[0],
                         "user_not_found")
        self.assertEqual(self.data(1, "muc", "enterRoom", "--room", room, "--user", two.full, "--nick",
                                   "again"), "Entering room message sent successfully")
        two.until("code='110'")
        self.assertEqual(self.data(1, "muc", "exitRoom", "--room", room, "--user", two.full, "--nick",
                                   "again"), "Exiting room message sent successfully")
        two.until("type='unavailable'")
        self.data(0, "muc", "setUserAffiliation", "--room", room, "--user", jid(guest),
                  "--affiliation", "OUTCAST")
        two.say(f"<presence to='{room}/back'>{MUC}</presence>")
        two.until("<forbidden ")
        self.assertEqual(self.data(1, "muc", "deleteRoom", "--room", room, "--reason", "over"),
                         "Room deleted successfully")
        self.assertIn("<reason>over</reason>", one.until("</destroy>"))
        for asked in range(3):
            self.assertEqual(self.fault(asked, "muc", "deleteRoom", "--room", room),
                             ("room_not_found", "Cannot remove non-existent room"))
            for command in ("getRoomConfig", "listRoomUsers", "listRoomAffiliations"):
                self.assertEqual(self.fault(asked, "muc", command, "--room", room),
                                 ("room_not_found", "Room not found"))

    def test_a_room_made_for_who_is_away_stays_until_its_owner_comes(self):
        owner, other = self.user("away"), self.user("other")
        room = self.room()
        self.data(1, "muc", "createInstantRoom", "--room", room, "--owner", jid(owner), "--nick", "me")
        # Once more is the same room; of another it is not.
        self.data(2, "muc", "createInstantRoom", "--room", room, "--owner", jid(owner), "--nick", "me")
        self.assertEqual(self.fault(0, "muc", "createInstantRoom", "--room", room, "--owner",
                                    jid(other), "--nick", "me")[0], "conflict")
        config = self.data(0, "muc", "getRoomConfig", "--room", room)
        self.assertEqual((config["persistent"], config["membersOnly"], config["anonymous"]),
                         (True, False, True))
        changed = self.data(2, "muc", "changeRoomConfiguration", "--room", room, "--config", json.dumps(
            {"title": "A <room>", "membersOnly": True, "anonymous": False, "maxUsers": 7,
             "allowPrivateMessages": False, "mayGetMemberList": ["moderator"],
             "passwordProtected": True, "password": "open"}))
        for asked in range(3):
            config = self.data(asked, "muc", "getRoomConfig", "--room", room)
            self.assertEqual(config, changed)
            self.assertEqual([config[key] for key in ("title", "membersOnly", "anonymous", "maxUsers",
                                                      "allowPrivateMessages", "mayGetMemberList",
                                                      "password")],
                             ["A <room>", True, False, 7, False, ["moderator"], "open"])
        for wrong in ({"allowQueryUsers": False}, {"colour": "red"}, {"membersOnly": "perhaps"}):
            self.assertEqual(self.fault(0, "muc", "changeRoomConfiguration", "--room", room, "--config",
                                        json.dumps(wrong))[0], "invalid_config", wrong)
        client = self.client(2, owner)
        client.say(f"<presence to='{room}/me'><x xmlns='http://jabber.org/protocol/muc'>"
                   "<password>open</password></x></presence>")
        self.assertIn("affiliation='owner'", client.until("code='110'"))
        self.assertEqual(self.fault(1, "muc", "inviteUser", "--room", room, "--sender", jid(other),
                                    "--recipient", jid(owner))[0], "not_allowed")
        self.assertEqual(self.fault(1, "muc", "setUserAffiliation", "--room", room, "--user",
                                    jid(owner), "--affiliation", "NONE")[0], "conflict")
        self.assertEqual(self.fault(1, "muc", "getRoomConfig", "--room", f"x@{DOMAIN}")[0],
                         "muc_server_not_found")
        self.assertEqual(self.fault(1, "muc", "createInstantRoom", "--room", f"y@{ROOMS}", "--owner",
                                    jid("nobody"), "--nick", "me"),
                         ("user_not_found", "Given user not found"))
        self.data(0, "muc", "deleteRoom", "--room", room)


if __name__ == "__main__":
    unittest.main()
