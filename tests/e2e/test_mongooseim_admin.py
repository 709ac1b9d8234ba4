"""An operator's view of a node that serves clients: both generations of commands, with clients of
slixmpp online to see what they do; what the configuration turns on and off."""

import asyncio
import base64
import csv
import io
import json
import os
import re
import socket
import ssl
import threading
import time
import unittest
import zipfile

from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.slix import SlixClient
from lib.wait import wait_until

DOMAIN = "admin.example"


class AdminClient(SlixClient):
    """Notes what operators' commands do to it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.stream_errors = []
        self.pushes = asyncio.Queue()
        self.add_event_handler("stream_error", lambda error: self.stream_errors.append(
            (error["condition"], error["text"])))
        self.add_event_handler("roster_update", self.pushes.put_nowait)


class AdminCase(EndToEndCase):
    sections = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        cls.node = Mongooseim(cls.workspace, cls.epmd, "adm")
        sections = {**cls.sections, "c2s": {"workers": 3, **cls.sections.get("c2s", {})}}
        cls.node.serve(cls.authority, DOMAIN, auth={"failures_per_address": "0"}, **sections)
        cls.node.live()
        for user in ("romeo", "juliet", "nurse"):
            cls.node.register(user, "secret")

    def client(self, user, resource, **options):
        host, port = self.node.endpoint.rsplit(":", 1)
        return AdminClient(user, DOMAIN, options.pop("password", "secret"), host, int(port),
                          self.authority.ca_file, resource=resource, **options)

    def until(self, sock, word):
        heard = b""
        while word not in heard:
            piece = sock.recv(4096)
            self.assertTrue(piece, heard)
            heard += piece
        return heard.decode()

    def raw_login(self, user):
        """Over direct TLS by PLAIN: the connection, the features before it and behind it."""
        context = ssl.create_default_context(cafile=self.authority.ca_file)
        host, port = self.node.tls_endpoint.rsplit(":", 1)
        sock = context.wrap_socket(socket.create_connection((host, int(port)), timeout=30),
                                   server_hostname=DOMAIN)
        opening = (f"<stream:stream xmlns='jabber:client' to='{DOMAIN}' version='1.0' "
                   "xmlns:stream='http://etherx.jabber.org/streams'>").encode()
        sock.sendall(opening)
        before = self.until(sock, b"</stream:features>")
        word = base64.b64encode(f"\0{user}\0secret".encode())
        sock.sendall(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + word +
                     b"</auth>")
        self.until(sock, b"<success")
        sock.sendall(opening)
        return sock, before, self.until(sock, b"</stream:features>")

    def raw(self, user, resource):
        """A session by hand."""
        sock, _, _ = self.raw_login(user)
        sock.sendall(b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" +
                     resource.encode() + b"</resource></bind></iq>")
        self.until(sock, b"</iq>")
        return sock

    def answer(self, *words, code=0):
        done = self.node.ctl(*words)
        self.assertEqual(done.code, code, done)
        return json.loads(done.out)

    def data(self, category, command, *words):
        return self.answer(category, command, *words)["data"][category][command]

    def fault(self, category, command, *words):
        """The code and the message of the one error."""
        answer = self.answer(category, command, *words, code=1)
        self.assertEqual(len(answer["errors"]), 1, answer)
        error = answer["errors"][0]
        self.assertEqual(error["path"], [category, command])
        return error["extensions"]["code"], error["message"]

    def flat(self, *words, code=0):
        done = self.node.ctl(*words)
        self.assertEqual(done.code, code, done)
        return done.out.splitlines()


def jid(user, resource=None):
    return f"{user}@{DOMAIN}" + (f"/{resource}" if resource else "")


class Commands(AdminCase):
    sections = {"limits": {"roster_items": 5},
                "modules.private": {"elements_max": 2}}

    def run_with(self, names, body):
        """`body(clients)` in a thread of its own while they are online."""
        async def go():
            clients = [await self.client(*name.split("/")).login() for name in names]
            try:
                await body(*clients)
            finally:
                for client in clients:
                    await client.logout()
        asyncio.run(go())

    async def ask(self, function, *words, **options):
        return await asyncio.to_thread(function, *words, **options)

    # --- sessions

    def test_sessions_are_listed_counted_and_ended(self):
        async def body(one, two):
            listed = await self.ask(self.data, "session", "listSessions", "--domain", DOMAIN)
            self.assertEqual([line["user"] for line in listed],
                             [jid("juliet", "b"), jid("romeo", "a")])
            self.assertEqual(listed[1]["connection"], "c2s_tls")
            self.assertEqual(listed[1]["ip"], "127.0.0.1")
            self.assertEqual(listed[1]["port"], one.local_port)
            self.assertEqual(listed[1]["priority"], 0)
            self.assertEqual(listed[1]["node"], self.node.name)
            self.assertLess(listed[1]["uptime"], 60)
            self.assertEqual(await self.ask(self.data, "session", "countSessions"), 2)
            self.assertEqual(await self.ask(self.flat, "connected_users"),
                             [jid("juliet", "b"), jid("romeo", "a")])
            self.assertEqual(await self.ask(self.flat, "connected_users_number"), ["2"])
            self.assertEqual(
                await self.ask(self.data, "session", "countUserResources", "--user", jid("romeo")), 1)
            self.assertEqual(await self.ask(self.flat, "user_resources", "romeo", DOMAIN), ["a"])
            self.assertEqual(
                (await self.ask(self.flat, "user_sessions_info", "romeo", DOMAIN))[0].split("\t")[0],
                jid("romeo", "a"))
            self.assertEqual(await self.ask(self.data, "session", "getUserResource", "--user",
                                            jid("romeo"), "--number", "1"), "a")
            self.assertEqual((await self.ask(self.fault, "session", "getUserResource", "--user",
                                             jid("romeo"), "--number", "2"))[0], "wrong_res_number")
            gone = one.disconnected
            kicked = await self.ask(self.data, "session", "kickUserSession", "--user",
                                    jid("romeo", "a"), "--reason", "enough")
            self.assertEqual(kicked, {"jid": jid("romeo", "a"), "kicked": True, "code": None,
                                      "message": "Session kicked"})
            await asyncio.wait_for(asyncio.shield(gone), 10)
            self.assertIn(("conflict", "enough"), one.stream_errors)
            again = await self.ask(self.data, "session", "kickUserSession", "--user",
                                   jid("romeo", "a"))
            self.assertEqual((again["kicked"], again["code"]), (False, "no_session"))
            self.assertEqual(await self.ask(self.flat, "kick_session", "romeo", DOMAIN, "a", "x",
                                            code=1), ["No active session"])
            many = await self.ask(self.data, "session", "kickUser", "--user", jid("juliet"))
            self.assertEqual([line["jid"] for line in many], [jid("juliet", "b")])
            await asyncio.to_thread(
                wait_until, lambda: self.data("session", "countSessions") == 0, "nobody is there")
            del two
        self.run_with(("romeo/a", "juliet/b"), body)

    def test_presence_is_set_and_asked_for(self):
        async def body(_client):
            self.assertEqual(
                (await self.ask(self.data, "session", "setPresence", "--user", jid("romeo", "p"),
                                "--type", "AVAILABLE", "--show", "DND", "--status", "so <busy>",
                                "--priority", "7"))["message"], "Presence set successfully")
            found = await self.ask(self.data, "session", "listUsersWithStatus", "--status", "dnd")
            self.assertEqual(found, [{"user": jid("romeo", "p"), "priority": 7,
                                      "text": "so <busy>"}])
            self.assertEqual(await self.ask(self.flat, "status_num", "dnd"), ["1"])
            self.assertEqual(await self.ask(self.data, "session", "countUsersWithStatus", "--status",
                                            "available"), 0)
            self.assertEqual((await self.ask(self.fault, "session", "setPresence", "--user",
                                             jid("romeo"), "--type", "AVAILABLE"))[0],
                             "empty_resource")
            self.assertEqual((await self.ask(self.fault, "session", "setPresence", "--user",
                                             jid("romeo", "q"), "--type", "AVAILABLE"))[0],
                             "no_session")
        self.run_with(("romeo/p",), body)

    # --- stanzas

    def test_messages_are_sent_in_a_users_name_and_read_from_the_archive(self):
        async def body(client):
            sent = await self.ask(self.data, "stanza", "sendMessage", "--from", jid("juliet"), "--to",
                                  jid("romeo"), "--body", "from <operators> & co")
            self.assertTrue(sent["id"])
            self.assertEqual(await client.heard(), (jid("juliet"), "from <operators> & co"))
            await self.ask(self.flat, "send_message_chat", jid("juliet"), jid("romeo"), "flat")
            self.assertEqual(await client.heard(), (jid("juliet"), "flat"))
            stanza = (f"<message from='{jid('juliet')}' to='{jid('romeo')}' type='chat' id='mine'>"
                      "<body>whole</body></message>")
            self.assertEqual(
                (await self.ask(self.data, "stanza", "sendStanza", "--stanza", stanza))["id"], "mine")
            self.assertEqual(await client.heard(), (jid("juliet"), "whole"))
            def last():
                return self.data("stanza", "getLastMessages", "--caller", jid("romeo"), "--with",
                                 jid("juliet"), "--limit", "2")

            def bodies():
                return [re.search("<body>(.*)</body>", one["stanza"])[1] for one in last()["stanzas"]]
            # It is written beside the delivery.
            await asyncio.to_thread(wait_until, lambda: bodies() == ["flat", "whole"],
                                    "the archive has them")
            found = await self.ask(last)
            self.assertEqual(found["limit"], 2)
            self.assertEqual(found["stanzas"][0]["sender"], jid("juliet"))
            self.assertTrue(found["stanzas"][0]["timestamp"].endswith("Z"))
        self.run_with(("romeo/m",), body)
        self.assertEqual(self.fault("stanza", "sendMessage", "--from", jid("nobody"), "--to",
                                    jid("romeo"), "--body", "x"),
                         ("unknown_user", "User does not exist"))
        self.assertEqual(self.fault("stanza", "sendMessage", "--from", "a@elsewhere.example", "--to",
                                    jid("romeo"), "--body", "x")[0], "unknown_user")
        self.assertEqual(self.fault("stanza", "sendStanza", "--stanza", "<message/>")[0], "no_sender")
        self.assertEqual(self.fault("stanza", "sendStanza", "--stanza", "<message")[0],
                         "invalid_stanza")
        self.assertEqual(self.fault("stanza", "getLastMessages", "--caller", jid("nobody"))[0],
                         "unknown_user")

    # --- rosters

    def test_rosters_are_changed_and_clients_see_it(self):
        async def body(client):
            pushed = client.pushes
            self.assertEqual(
                await self.ask(self.data, "roster", "addContact", "--user", jid("nurse"), "--contact",
                               jid("romeo"), "--name", "Romeo", "--groups", '["Verona"]'),
                "Contact added successfully")
            await asyncio.wait_for(pushed.get(), 10)
            self.assertEqual(
                await self.ask(self.data, "roster", "setMutualSubscription", "--userA", jid("nurse"),
                               "--userB", jid("juliet"), "--action", "CONNECT"),
                f"Subscription between users {jid('nurse')} and {jid('juliet')} created successfully")
        self.run_with(("nurse/r",), body)
        def contacts():
            return {one["jid"]: one for one in self.data("roster", "listContacts", "--user",
                                                         jid("nurse"))}
        wait_until(lambda: contacts()[jid("juliet")]["subscription"] == "BOTH", "both see each other")
        self.assertEqual(contacts()[jid("romeo")],
                         {"jid": jid("romeo"), "name": "Romeo", "groups": ["Verona"],
                          "subscription": "NONE", "ask": "NONE"})
        self.assertEqual(self.data("roster", "getContact", "--user", jid("juliet"), "--contact",
                                   jid("nurse"))["subscription"], "BOTH")
        self.assertEqual(self.data("roster", "subscription", "--user", jid("nurse"), "--contact",
                                   jid("romeo"), "--action", "INVITE"),
                         "Subscription stanza with type subscribe sent successfully")
        wait_until(lambda: contacts()[jid("romeo")]["ask"] == "OUT", "it was asked")
        self.assertIn(f"{jid('juliet')}\t\tboth\tnone\t", self.flat("get_roster", "nurse", DOMAIN))
        self.assertEqual(self.data("roster", "deleteContact", "--user", jid("nurse"), "--contact",
                                   jid("romeo")), f"Contact {jid('romeo')} deleted successfully")
        self.assertEqual(self.fault("roster", "deleteContact", "--user", jid("nurse"), "--contact",
                                    jid("romeo"))[0], "contact_not_found")
        self.assertEqual(self.fault("roster", "getContact", "--user", jid("nurse"), "--contact",
                                    jid("romeo")),
                         ("contact_not_found", "Given contact does not exist"))
        self.assertEqual(self.fault("roster", "addContact", "--user", jid("nurse"), "--contact",
                                    jid("nobody")),
                         ("user_not_exist", f"The user {jid('nobody')} does not exist"))
        self.assertEqual(self.fault("roster", "listContacts", "--user", "x@elsewhere.example"),
                         ("unknown_domain", "Domain not found"))
        self.flat("delete_rosteritem", "nurse", DOMAIN, "juliet", DOMAIN)
        wait_until(lambda: jid("juliet") not in contacts(), "the old command deletes, too")

    def test_many_contacts_at_once_and_the_limit(self):
        self.node.register("crowd", "secret")
        names = [f"x{number}@elsewhere.example" for number in range(6)]
        answer = self.answer(
            "roster", "addContacts", "--user", jid("crowd"), "--contacts",
            json.dumps([{"jid": name, "name": name} for name in names]), code=1)
        self.assertEqual(answer["data"]["roster"]["addContacts"],
                         ["Contact added successfully"] * 5 + [None])
        self.assertEqual(answer["errors"][0]["extensions"], {"contact": names[5], "code": "internal"})
        deleted = self.data("roster", "deleteContacts", "--user", jid("crowd"), "--contacts",
                            json.dumps(names[:2]))
        self.assertEqual(deleted, [f"Contact {name} deleted successfully" for name in names[:2]])
        self.assertEqual(self.fault("roster", "addContacts", "--user", jid("crowd"), "--contacts",
                                    '[{"name":"none"}]')[0], "invalid_contacts")

    # --- what is stored

    def test_last_activity(self):
        self.node.register("old", "secret")
        self.assertEqual(self.fault("last", "getLast", "--user", jid("old"))[0], "last_not_found")
        self.assertEqual(self.data("last", "setLast", "--user", jid("old"), "--timestamp",
                                   "2020-02-03T04:05:06Z", "--status", "bye"),
                         {"timestamp": "2020-02-03T04:05:06Z", "status": "bye"})
        self.assertEqual(self.data("last", "getLast", "--user", jid("old"))["status"], "bye")
        self.assertEqual(self.fault("last", "getLast", "--user", jid("nobody")),
                         ("user_does_not_exist", f"User {jid('nobody')} does not exist"))
        listed = self.data("last", "listOldUsers", "--domain", DOMAIN, "--timestamp",
                           "2020-03-01T00:00:00Z")
        self.assertIn({"jid": jid("old"), "timestamp": "2020-02-03T04:05:06Z"}, listed)
        self.flat("set_last", "old", DOMAIN, "1700000000", "flat")
        self.assertEqual(self.data("last", "getLast", "--user", jid("old")),
                         {"timestamp": "2023-11-14T22:13:20Z", "status": "flat"})
        self.assertEqual(self.data("last", "countActiveUsers", "--domain", DOMAIN, "--timestamp",
                                   "2023-11-14T00:00:00Z") >= 1, True)
        self.assertEqual(self.fault("last", "listOldUsers", "--timestamp", "yesterday")[0],
                         "invalid_time")

    def test_private_xml_by_the_modules_limits(self):
        element = "<my xmlns='x:1'><a>&amp;</a></my>"
        self.assertEqual(self.data("private", "setPrivate", "--user", jid("romeo"),
                                   "--elementString", element), element)
        self.assertEqual(self.data("private", "getPrivate", "--user", jid("romeo"), "--element", "my",
                                   "--nameSpace", "x:1"), element)
        self.data("private", "setPrivate", "--user", jid("romeo"), "--elementString",
                  "<my xmlns='x:2'/>")
        self.assertEqual(self.fault("private", "setPrivate", "--user", jid("romeo"),
                                    "--elementString", "<my xmlns='x:3'/>")[0], "not-allowed")
        self.assertEqual(self.fault("private", "setPrivate", "--user", jid("nobody"),
                                    "--elementString", element)[0], "user_does_not_exist")
        self.assertEqual(self.fault("private", "setPrivate", "--user", jid("romeo"),
                                    "--elementString", "<my")[0], "invalid_xml")

    def test_vcards(self):
        self.assertEqual(self.fault("vcard", "getVcard", "--user", jid("juliet")),
                         ("vcard_not_found", "Vcard for user not found"))
        card = {"formattedName": "Juliet <3", "nameComponents": {"givenName": "Juliet"},
                "nickname": ["J"], "email": [{"tags": ["HOME"], "userId": "j@example.org"}],
                "org": [{"orgname": "Capulet", "orgunit": ["House", "Balcony"]}]}
        set_to = self.data("vcard", "setVcard", "--user", jid("juliet"), "--vcard", json.dumps(card))
        got = self.data("vcard", "getVcard", "--user", jid("juliet"))
        self.assertEqual(set_to, got)
        self.assertEqual(got["formattedName"], "Juliet <3")
        self.assertEqual(got["nameComponents"]["givenName"], "Juliet")
        self.assertEqual(got["nickname"], ["J"])
        self.assertEqual(got["email"], [{"tags": ["HOME"], "userId": "j@example.org"}])
        self.assertEqual(got["org"], [{"orgname": "Capulet", "orgunit": ["House", "Balcony"]}])
        self.assertEqual(self.flat("get_vcard", "juliet", DOMAIN, "FN"), ["Juliet <3"])
        self.assertEqual(self.flat("get_vcard2", "juliet", DOMAIN, "N", "GIVEN"), ["Juliet"])
        self.flat("set_vcard", "juliet", DOMAIN, "FN", "Mrs. M")
        self.assertEqual(self.flat("get_vcard", "juliet", DOMAIN, "FN"), ["Mrs. M"])
        self.assertEqual(self.flat("get_vcard", "juliet", DOMAIN, "NICKNAME"), ["J"])
        self.flat("get_vcard", "juliet", DOMAIN, "TITLE", code=1)
        self.assertEqual(self.fault("vcard", "setVcard", "--user", jid("juliet"), "--vcard",
                                    '{"photo":["x"]}')[0], "invalid_vcard")
        card = {"formattedName": "J", "photo": ["data:image/png;base64,aGk=", "https://a.example/p.png"],
                "logo": ["aGk="], "sound": [], "agent": [], "key": [{"credential": "ssh-ed25519 AAAA"}],
                "label": [{"tags": ["HOME"], "line": ["one", "two"]}], "class": [{"tags": ["PRIVATE"]}],
                "categories": [{"keyword": ["a", "b"]}]}
        set_to = self.data("vcard", "setVcard", "--user", jid("juliet"), "--vcard", json.dumps(card))
        self.assertEqual(set_to, self.data("vcard", "getVcard", "--user", jid("juliet")))
        self.assertEqual({key: set_to[key] for key in card}, card)
        # As XEP-0054 and XEP-0153 have it.
        self.assertEqual(self.flat("get_vcard2", "juliet", DOMAIN, "PHOTO", "BINVAL"), ["aGk="])
        self.assertEqual(self.flat("get_vcard2", "juliet", DOMAIN, "PHOTO", "TYPE"), ["image/png"])

    # --- files

    def test_users_of_a_file_are_registered(self):
        self.node.write("users.csv", f'im-a,{DOMAIN},secret\r\nim-b,{DOMAIN},"pass,""word"\nromeo,'
                        f'{DOMAIN},x\nim-c,elsewhere.example,x\nim d,{DOMAIN},x\nim-e,{DOMAIN},\n'
                        'only,two\n')
        self.assertEqual(self.data("account", "importUsers", "--filename", "users.csv"), {
            "status": "Completed", "created": [jid("im-a"), jid("im-b")], "existing": [jid("romeo")],
            "notAllowed": ["im-c@elsewhere.example"], "invalidJID": [f"im d,{DOMAIN}"],
            "emptyPassword": [jid("im-e")],
            # Not what stands there: any of it may be a password.
            "invalidRecord": ["record 7: 2 fields, not user,host,password"]})
        self.assertEqual(self.data("account", "checkPassword", "--user", jid("im-b"), "--password",
                                   'pass,"word')["correct"], True)
        self.assertIn(f"existing {jid('im-a')}", self.flat("import_users",
                                                           self.node.path("users.csv")))
        self.assertEqual(self.fault("account", "importUsers", "--filename", "/none")[0],
                         "file_not_found")

    def test_hashes_of_passwords_are_not_kept(self):
        words = ("account", "checkPasswordHash", "--user", jid("romeo"), "--passwordHash", "x",
                 "--hashMethod")
        self.assertEqual(self.fault(*words, "md5"),
                         ("wrong_user", "User does not exist or using SCRAM password"))
        self.assertEqual(self.fault(*words, "crc")[0], "wrong_method")
        self.assertEqual(self.flat("check_password_hash", "romeo", DOMAIN, "x", "sha", code=1),
                         ["Error: User does not exist or using SCRAM password"])

    def test_all_that_is_stored_of_a_user_is_written_into_a_file(self):
        self.node.register("person", "secret")
        self.data("roster", "addContact", "--user", jid("person"), "--contact", jid("nurse"), "--name",
                  'N "x", y', "--groups", '["g","h"]')
        self.data("vcard", "setVcard", "--user", jid("person"), "--vcard", '{"formattedName":"P"}')
        self.data("private", "setPrivate", "--user", jid("person"), "--elementString",
                  "<notes xmlns='n:1'>mine</notes>")
        self.data("last", "setLast", "--user", jid("person"), "--status", "gone")
        self.data("stanza", "sendMessage", "--from", jid("nurse"), "--to", jid("person"), "--body",
                  "kept for later")
        room = f"home@conference.{DOMAIN}"
        self.data("muc", "createInstantRoom", "--room", room, "--owner", jid("person"), "--nick", "p")
        path = self.workspace.path("person.zip")
        words = ("gdpr", "retrievePersonalData", "--username", "person", "--domain", DOMAIN,
                 "--resultFilepath", path)

        def whole():
            if os.path.exists(path):
                os.remove(path)
            self.assertEqual(self.data(*words), "Data retrieved")
            with zipfile.ZipFile(path) as file:
                self.assertIsNone(file.testzip())
                found = {name: list(csv.reader(io.StringIO(file.read(name).decode(), newline="")))
                         for name in file.namelist()}
            return found if len(found["archive.csv"]) == 2 and len(found["offline.csv"]) == 2 else None
        wait_until(whole, "the message is in the store")
        found = whole()
        self.assertEqual(found["account.csv"][1][0], jid("person"))
        self.assertEqual(found["roster.csv"][1], [jid("nurse"), 'N "x", y', "none", "none", "g;h", ""])
        self.assertIn("<FN>P</FN>", found["vcard.csv"][1][1])
        self.assertEqual(found["private.csv"][1][0], "n:1")
        self.assertIn(">mine<", found["private.csv"][1][1])
        self.assertEqual(found["last.csv"][1][1], "gone")
        self.assertEqual(found["rooms.csv"][1], [room, "owner", "", ""])
        for name in ("offline.csv", "archive.csv"):
            self.assertIn("kept for later", found[name][1][3])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(self.fault(*words)[0], "file_failed")  # nothing is written over
        self.assertEqual(self.fault("gdpr", "retrievePersonalData", "--username", "nobody", "--domain",
                                    DOMAIN, "--resultFilepath", path)[0], "user_does_not_exist")
        self.assertEqual(self.flat("retrieve_personal_data", "person", DOMAIN, path + "2"),
                         ["Data retrieved"])
        self.data("muc", "deleteRoom", "--room", room)

    def test_a_broadcast_reaches_who_is_there_and_waits_for_who_is_not(self):
        order = ("broadcast", "startBroadcast", "--name", "news", "--domain", DOMAIN,
                 "--messageSubject", "s", "--messageBody", "all <hear>", "--senderJid",
                 f"office@{DOMAIN}", "--recipientGroup", "ALL_USERS_IN_DOMAIN", "--messageRate")

        async def body(client):
            started = await self.ask(self.data, *order, "1000")
            self.assertEqual(await client.heard(), (f"office@{DOMAIN}", "all <hear>"))
            return started["ids"][0]
        found = []

        async def note(client):
            found.append(await body(client))
        self.run_with(("romeo/w",), note)
        job = str(found[0])
        def state():
            return self.data("broadcast", "getBroadcast", "--domain", DOMAIN, "--id", job)
        wait_until(lambda: state()["executionState"] == "FINISHED", "all have it")
        users = self.data("account", "countUsers", "--domain", DOMAIN)
        self.assertEqual(state()["recipientsProcessed"], users)
        self.assertEqual(state()["recipientCount"], users)

        async def later(client):
            self.assertEqual(await client.heard(), (f"office@{DOMAIN}", "all <hear>"))
        self.run_with(("nurse/w",), later)
        self.assertEqual(self.fault("broadcast", "abortBroadcast", "--domain", DOMAIN, "--id",
                                    job)[0], "not_running")
        slow = self.data(*order, "1")["ids"][0]
        self.assertEqual(self.fault(*order, "1")[0], "already_running")
        self.data("broadcast", "abortBroadcast", "--domain", DOMAIN, "--id", str(slow))
        listed = self.data("broadcast", "getBroadcasts", "--domain", DOMAIN)
        self.assertEqual([one["executionState"] for one in listed][-2:], ["FINISHED", "ABORT_ADMIN"])
        gone = self.data("broadcast", "deleteInactiveBroadcastsByDomain", "--domain", DOMAIN)
        self.assertEqual(gone["ids"], [int(job), slow])
        self.assertEqual(self.fault("broadcast", "getBroadcast", "--domain", DOMAIN, "--id", job)[0],
                         "broadcast_not_found")
        self.assertEqual(self.fault(*order, "5000")[0], "invalid_broadcast")

    # --- accounts and numbers

    def test_a_banned_account_is_thrown_out_and_kept_out(self):
        self.node.register("bad", "secret")

        async def body():
            client = await self.client("bad", "x").login()
            gone = client.disconnected
            said = await self.ask(self.data, "account", "banUser", "--user", jid("bad"), "--reason",
                                  "spam")
            self.assertEqual(said, {"message": f"User {jid('bad')} successfully banned with reason: "
                                               "spam", "jid": jid("bad")})
            await asyncio.wait_for(asyncio.shield(gone), 10)
            with self.assertRaises(ConnectionError):
                await self.client("bad", "y").login()
            self.assertEqual(await self.ask(self.data, "blocklist", "listBlockedUsers", "--domain",
                                            DOMAIN), [{"user": jid("bad"), "reason": "spam"}])
            self.assertEqual(await self.ask(self.data, "blocklist", "userCount", "--domain", DOMAIN),
                             1)
            await self.ask(self.flat, "unban_account", "bad", DOMAIN)
            await (await self.client("bad", "z").login()).logout()
        asyncio.run(body())
        self.assertEqual(self.fault("account", "banUser", "--user", jid("nobody"), "--reason", "x")[0],
                         "not_found")

    def test_the_numbers_of_accounts_and_sessions_are_true(self):
        def registered():
            return self.data("stat", "globalStats")["registeredUsers"]
        listed = len(self.data("account", "listUsers", "--domain", DOMAIN))
        wait_until(lambda: registered() == listed, "the count is that of the list")
        self.node.register("one-more", "secret")
        wait_until(lambda: registered() == listed + 1, "it goes with the accounts")
        self.assertEqual(self.flat("stats", "registeredusers"), [str(listed + 1)])
        self.assertEqual(self.flat("stats_host", "registeredusers", DOMAIN), [str(listed + 1)])

        async def body(_one):
            stats = await self.ask(self.data, "stat", "domainStats", "--domain", DOMAIN)
            self.assertEqual(stats, {"registeredUsers": listed + 1, "onlineUsers": 1})
            self.assertEqual((await self.ask(self.data, "stat", "globalStats"))["onlineUsersNode"], 1)
        self.run_with(("romeo/n",), body)
        self.assertEqual(self.fault("stat", "domainStats", "--domain", "elsewhere.example")[0],
                         "domain_not_found")

    def test_domains_are_those_of_the_file(self):
        self.assertEqual(self.data("domain", "allDomains"),
                         [{"domain": DOMAIN, "hostType": DOMAIN, "type": "STATIC",
                           "status": "ENABLED"}])
        self.assertEqual(self.data("domain", "domainsByHostType", "--hostType", DOMAIN), [DOMAIN])
        self.assertEqual(self.fault("domain", "domainDetails", "--domain", "x.example"),
                         ("domain_not_found", "Given domain does not exist"))
        self.assertEqual(self.fault("domain", "addDomain", "--domain", "x.example", "--hostType",
                                    "x")[0], "deps_not_loaded")

    def test_graphql_asks_the_same(self):
        done = self.node.ctl("graphql", f'{{ stat {{ domainStats(domain: "{DOMAIN}") '
                                        '{ registeredUsers } } }')
        self.assertEqual(done.code, 0, done)
        self.assertGreaterEqual(json.loads(done.out)["data"]["stat"]["domainStats"]["registeredUsers"],
                                3)


class Numbers(AdminCase):
    def metric(self, name, **labels):
        _, page = self.node.get("/metrics")
        wanted = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        found = re.search(rf"^{name}{re.escape('{' + wanted + '}') if wanted else ''} (\S+)$", page,
                          re.M)
        self.assertIsNotNone(found, (name, wanted))
        return float(found[1])

    def element(self, direction, kind):
        return self.metric(f"xmpp_element_{direction}_{kind}_count", connection_type="c2s",
                           host_type=DOMAIN)

    def wait_for(self, expected, read):
        wait_until(lambda: read() == expected, f"it becomes {expected}")

    def test_metrics_are_what_was_done(self):
        logins = self.metric("sm_session_logins", host_type=DOMAIN)
        failed = self.metric("c2s_auth_failed_count", host_type=DOMAIN)
        came, went = self.element("in", "message"), self.element("out", "message")

        async def body():
            one = await self.client("romeo", "m").login()
            other = await self.client("juliet", "m").login()
            for number in range(10):
                await one.say(jid("juliet", "m"), str(number))
            for number in range(10):
                self.assertEqual((await other.heard())[1], str(number))
            await asyncio.to_thread(self.wait_for, came + 10, lambda: self.element("in", "message"))
            await asyncio.to_thread(self.wait_for, went + 10, lambda: self.element("out", "message"))
            for name, value in (("sm_node_sessions_count", 2), ("sm_total_sessions_count", 2),
                                ("sm_unique_sessions_count", 2)):
                await asyncio.to_thread(self.wait_for, value, lambda n=name: self.metric(n))
            self.assertEqual(self.metric("sm_session_logins", host_type=DOMAIN), logins + 2)
            with self.assertRaises(ConnectionError):
                await self.client("nurse", "x", password="wrong").login()
            self.assertGreater(self.metric("c2s_auth_failed_count", host_type=DOMAIN), failed)
            await one.logout()
            await other.logout()
        asyncio.run(body())
        for name in ("sm_node_sessions_count", "sm_total_sessions_count"):
            self.wait_for(0, lambda n=name: self.metric(n))

    def test_memory_is_told_by_category(self):
        lines = dict(line.split() for line in self.flat("memory"))
        self.assertGreater(int(lines["resident"]), 1 << 20)
        self.assertGreater(int(lines["bound"]), int(lines["resident"]))
        self.assertEqual(int(lines["sessionCount"]), 0)
        for name in ("heap", "tables", "storeQueue", "detachedSessions", "sessions"):
            self.assertIn(name, lines)
        self.assertEqual(self.metric("mongooseim_memory_pressure", state="enough"), 1)


class Short(AdminCase):
    sections = {"limits": {"memory": "16MiB"}}  # less than the program itself takes

    def test_without_memory_nobody_comes_in_and_the_node_lives(self):
        async def body():
            # Until the workers have heard of it somebody may still come in.
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline:
                try:
                    await (await self.client("romeo", "x").login()).logout()
                except ConnectionError as error:
                    return str(error)
            return "nobody was refused"
        self.assertIn("resource-constraint", asyncio.run(body()))
        self.assertEqual(self.node.get("/livez")[0], 200)
        _, page = self.node.get("/metrics")
        self.assertIn('mongooseim_memory_pressure{state="out"} 1', page)
        self.assertRegex(page, r"mongooseim_c2s_shed_total [1-9]")


class Interrupted(AdminCase):
    def test_a_broadcast_ends_with_its_node(self):
        for number in range(20):
            self.node.register(f"u{number}", "secret")
        self.data("broadcast", "startBroadcast", "--name", "long", "--domain", DOMAIN,
                  "--messageSubject", "s", "--messageBody", "b", "--senderJid", f"office@{DOMAIN}",
                  "--recipientGroup", "ALL_USERS_IN_DOMAIN", "--messageRate", "2")
        self.assertEqual(self.node.ctl("stop").code, 0)
        self.assertEqual(self.node.process.wait_exit(10), 0)


def not_resumable(client):
    """Who may resume is closed without a word, so that it does: test_mongooseim_sessions."""
    client["xep_0198"].allow_resume = False
    return client


class Stopped(AdminCase):
    sections = {"c2s": {"drain_on_stop": "4s"}}

    def not_resumable(self, resource):
        return not_resumable(self.client("romeo", resource))

    def test_a_stop_closes_clients_one_by_one_and_the_node_behind_them(self):
        async def body():
            clients = [await self.not_resumable(f"d{number}").login() for number in range(6)]
            gone = [asyncio.ensure_future(self.end_of(client)) for client in clients]
            stop = asyncio.ensure_future(asyncio.to_thread(self.node.ctl, "stop"))
            times = sorted(await asyncio.wait_for(asyncio.gather(*gone), 20))
            self.assertGreater(times[-1] - times[0], 1.0, "not all at once")
            self.assertEqual({client.stream_errors[0][0] for client in clients}, {"system-shutdown"})
            self.assertEqual((await stop).code, 0)
        asyncio.run(body())
        self.assertEqual(self.node.process.wait_exit(10), 0)

    @staticmethod
    async def end_of(client):
        await asyncio.shield(client.disconnected)
        return time.monotonic()


class Storm(AdminCase):
    sections = {"limits": {"login_cpu": 0.05}}

    def test_logins_above_their_share_wait_and_come_in(self):
        def waited():
            _, page = self.node.get("/metrics")
            return int(re.search(r"^mongooseim_c2s_logins_waited_total (\d+)$", page, re.M)[1])
        logins = 0
        deadline = time.monotonic() + 90
        # PLAIN costs the server a password's hash.
        while waited() == 0 and time.monotonic() < deadline:
            self.raw_login("romeo")[0].close()
            logins += 1
        self.assertGreater(waited(), 0)
        self.assertGreater(logins, 10, "a few never wait")
        _, page = self.node.get("/metrics")
        cost = int(re.search(r"^mongooseim_c2s_login_cost_microseconds (\d+)$", page, re.M)[1])
        self.assertGreater(cost, 100, "it was measured")
        self.raw_login("juliet")[0].close()


class Grown(AdminCase):
    """Sessions that may come back hold what is sent to them: more than the node may take."""
    BOUND = 96 << 20
    SESSIONS = 48
    sections = {"limits": {"memory": "96MiB", "sessions": 100}, "modules.archive": {"enabled": False},
                "modules.offline": {"enabled": False}}

    def resident(self):
        with open(f"/proc/{self.node.pid()}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) << 10

    def parked(self, number):
        """A session with resumption whose connection broke."""
        with self.raw("juliet", f"r{number}") as sock:
            sock.sendall(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            self.until(sock, b"<enabled")

    def test_the_bound_holds_whatever_is_sent(self):
        for number in range(self.SESSIONS):
            self.parked(number)
        most = [self.resident()]
        self.assertLess(most[0], self.BOUND * 3 // 4, "there is room at first")
        done = threading.Event()

        def watch():
            while not done.is_set():
                most[0] = max(most[0], self.resident())
                done.wait(0.02)
        watcher = threading.Thread(target=watch)
        watcher.start()
        body = "x" * 200_000
        with self.raw("romeo", "sender") as sock:
            reader = threading.Thread(target=self.read_all, args=(sock,))
            reader.start()
            sent = 0
            for _round in range(18):
                for number in range(self.SESSIONS):
                    sent += sock.send(f"<message to='{jid('juliet')}/r{number}' type='chat' id='m'>"
                                      f"<body>{body}</body></message>".encode())
            sock.shutdown(socket.SHUT_RDWR)
            reader.join(30)
        done.set()
        watcher.join(10)
        self.assertGreater(sent, self.BOUND * 3 // 2, "it was more than the bound")
        self.assertLess(most[0], self.BOUND * 3 // 2)
        _, page = self.node.get("/metrics")
        self.assertRegex(page, r"mongooseim_c2s_detached_evicted_total [1-9]")
        self.assertEqual(self.node.get("/livez")[0], 200)

    @staticmethod
    def read_all(sock):
        try:
            while sock.recv(1 << 20):
                pass
        except OSError:
            pass


class Drained(AdminCase):
    def not_resumable(self, resource):
        return not_resumable(self.client("romeo", resource))

    def test_a_drain_closes_all_by_its_rate_and_the_balancer_knows(self):
        async def body():
            clients = [await self.not_resumable(f"d{number}").login() for number in range(4)]
            gone = [client.disconnected for client in clients]
            done = await asyncio.to_thread(self.node.ctl, "drain", "--rate", "20", "--wait")
            self.assertEqual(done.code, 0, done)
            self.assertTrue(done.out.endswith("Drained\n"), done)
            for one in gone:
                await asyncio.wait_for(asyncio.shield(one), 10)
            for client in clients:
                self.assertEqual(client.stream_errors[0][0], "system-shutdown")
            with self.assertRaises(ConnectionError):
                await self.client("romeo", "late").login()
        asyncio.run(body())
        self.assertEqual(self.node.get("/readyz"), (503, "not ready: the node drains\n"))
        self.assertEqual(self.node.status()["state"], "draining")
        self.assertEqual(self.data("session", "countSessions"), 0)
        self.assertEqual(self.node.ctl("undrain").code, 0)

    def take_address(self):
        host, port = self.node.endpoint.rsplit(":", 1)
        try:
            return socket.create_server((host, int(port)))
        except OSError:
            return None

    def test_a_drain_that_cannot_be_ended_goes_on_to_its_deadline(self):
        async def body():
            clients = [await self.not_resumable(f"u{number}").login() for number in range(8)]
            gone = [client.disconnected for client in clients]
            begun = await asyncio.to_thread(self.node.ctl, "drain", "--rate", "1", "--deadline", "4")
            self.assertEqual(begun.code, 0, begun)
            taken = await asyncio.to_thread(wait_until, self.take_address, "nobody listens there")
            with taken:
                refused = await asyncio.to_thread(self.node.ctl, "undrain")
                self.assertEqual(refused.code, 1, refused)
                self.assertIn("It drains on: ", refused.out)
                self.assertEqual(self.node.status()["state"], "draining")
                for one in gone:
                    await asyncio.wait_for(asyncio.shield(one), 10)
            ended = await asyncio.to_thread(self.node.ctl, "undrain")
            self.assertEqual(ended.code, 0, ended)
            await (await self.client("romeo", "back").login()).logout()
        asyncio.run(body())


class Modules(AdminCase):
    sections = {
        "modules.registration": {"sign_up": True, "sign_ups_per_address": "1000/h"},
        "modules.last": {"enabled": False}, "modules.private": {"enabled": False},
        "modules.vcard": {"enabled": False}, "modules.time": {"enabled": False},
        "modules.offline": {"enabled": False}, "modules.version": {"enabled": False},
        "modules.archive": {"enabled": False},
        "modules.contact": {"abuse": ["mailto:abuse@admin.example"]}}

    def test_what_is_off_is_not_advertised_and_not_answered(self):
        async def body():
            client = await self.client("romeo", "d").login()
            info = await client["xep_0030"].get_info(jid=DOMAIN, timeout=15)
            features = set(info["disco_info"]["features"])
            for off in ("jabber:iq:last", "jabber:iq:private", "vcard-temp", "urn:xmpp:time",
                        "jabber:iq:version", "msgoffline"):
                self.assertNotIn(off, features)
            self.assertIn("jabber:iq:roster", features)
            self.assertIn("urn:xmpp:ping", features)
            account = await client["xep_0030"].get_info(jid=jid("romeo"), timeout=15)
            self.assertNotIn("urn:xmpp:mam:2", account["disco_info"]["features"])
            self.assertIn("mailto:abuse@admin.example", str(info))
            await client.logout()
        asyncio.run(body())
        self.assertEqual(self.fault("private", "getPrivate", "--user", jid("romeo"), "--element", "a",
                                    "--nameSpace", "x")[0], "service-unavailable")
        sent = self.data("stanza", "sendMessage", "--from", jid("juliet"), "--to", jid("romeo"),
                         "--body", "x")
        self.assertTrue(sent["id"])
        self.assertEqual(self.data("stanza", "getLastMessages", "--caller", jid("romeo"))["stanzas"],
                         [])

    def test_an_account_signs_up_in_band_and_logs_in(self):
        async def body():
            client = await self.client("fresh", "s", register=True, password="long enough").login()
            self.assertEqual(client.boundjid.full, jid("fresh", "s"))
            await client.logout()
        asyncio.run(body())
        self.assertIn(jid("fresh"), self.data("account", "listUsers", "--domain", DOMAIN))

    def test_features_tell_the_servers_capabilities(self):
        sock, before, after = self.raw_login("romeo")
        sock.close()
        self.assertIn("<register xmlns='http://jabber.org/features/iq-register'/>", before)
        self.assertNotIn("iq-register", after)
        self.assertRegex(after, "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' "
                                "node='[^']+' ver='[^']{28}'/>")


del AdminCase

if __name__ == "__main__":
    unittest.main()
