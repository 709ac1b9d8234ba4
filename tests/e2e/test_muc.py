"""Rooms of a mongooseim of ours, as slixmpp uses them (its xep_0045, 0313 and 0030): found by
discovery, entered, spoken in, kicked from, still there with what was said after a restart."""

import asyncio
import unittest

from slixmpp.exceptions import IqError, PresenceError

from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.slix import SlixClient

DOMAIN = "chat.example"
SERVICE = f"conference.{DOMAIN}"
ROOM = f"coven@{SERVICE}"
DEADLINE_S = 20


class Person(SlixClient):
    """A client that is in one room and notes what happens there."""

    def __init__(self, case, user, nick):
        host, port = case.node.endpoint.split(":")
        super().__init__(user, DOMAIN, "secret", host, int(port), case.authority.ca_file,
                         resource=nick)
        self.nick = nick
        self.said = asyncio.Queue()
        self.ends = asyncio.Queue()
        for plugin in ("xep_0045", "xep_0059", "xep_0313"):
            self.register_plugin(plugin)
        self.add_event_handler("groupchat_message", self.said.put_nowait)
        self.add_event_handler(f"muc::{ROOM}::got_offline", self.ends.put_nowait)

    async def enter(self, **options):
        return await self["xep_0045"].join_muc_wait(ROOM, self.nick, timeout=DEADLINE_S, **options)

    def say(self, text):  # pylint: disable=invalid-overridden-method,arguments-differ
        self.send_message(mto=ROOM, mbody=text, mtype="groupchat")

    async def hears(self):
        message = await asyncio.wait_for(self.said.get(), DEADLINE_S)
        return message["mucnick"], message["body"]

    async def gone(self):
        """(nick, status codes) of the next who goes."""
        presence = await asyncio.wait_for(self.ends.get(), DEADLINE_S)
        return presence["from"].resource, presence["muc"]["status_codes"]

    async def configure(self, **fields):
        form = self["xep_0004"].make_form(ftype="submit")
        form.add_field(var="FORM_TYPE", ftype="hidden",
                       value="http://jabber.org/protocol/muc#roomconfig")
        for name, value in fields.items():
            form.add_field(var=f"muc#roomconfig_{name}", value=value)
        await self["xep_0045"].set_room_config(ROOM, form)

    async def archive(self, count):
        """(from, body) of all that the room's archive has: so many, once they are durable."""
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while True:
            answer = await self["xep_0313"].retrieve(jid=ROOM)
            stanzas = [one["mam_result"]["forwarded"]["stanza"] for one in answer["mam"]["results"]]
            if len(stanzas) >= count or asyncio.get_running_loop().time() > deadline:
                return [(one["from"].resource, one["body"]) for one in stanzas]
            await asyncio.sleep(0.05)


class Rooms(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        cls.node = Mongooseim(cls.workspace, cls.epmd, "mim")
        cls.node.serve(cls.authority, DOMAIN, c2s={"workers": 3})
        cls.node.live()
        for user in ("alice", "bob", "carol"):
            done = cls.node.ctl("account", "registerUser", "--username", user, "--domain", DOMAIN,
                                "--password", "secret")
            assert done.code == 0, done

    def test_a_room_from_its_making_to_its_end(self):
        asyncio.run(self.tell_the_story())

    async def tell_the_story(self):
        alice = await Person(self, "alice", "first").login()
        items = await alice["xep_0030"].get_items(jid=DOMAIN)
        self.assertIn(SERVICE, [str(item[0]) for item in items["disco_items"]["items"]])
        info = await alice["xep_0030"].get_info(jid=SERVICE)
        self.assertIn("http://jabber.org/protocol/muc", info["disco_info"]["features"])

        await alice.enter()
        await alice.configure(persistentroom="1", roomname="Dark cave")
        info = await alice["xep_0030"].get_info(jid=ROOM)
        for feature in ("muc_persistent", "muc_semianonymous", "urn:xmpp:mam:2"):
            self.assertIn(feature, info["disco_info"]["features"])
        items = await alice["xep_0030"].get_items(jid=SERVICE)
        self.assertEqual([(str(item[0]), item[2]) for item in items["disco_items"]["items"]],
                         [(ROOM, "Dark cave")])

        bob = await Person(self, "bob", "second").login()
        await bob.enter()
        carol = await Person(self, "carol", "second").login()
        with self.assertRaises(PresenceError):
            await carol.enter()
        await carol.logout()
        bob.say("Thrice the brinded cat")
        for person in (alice, bob):
            self.assertEqual(await person.hears(), ("second", "Thrice the brinded cat"))
        alice.say("Thrice and once")
        self.assertEqual(await bob.hears(), ("first", "Thrice and once"))
        with self.assertRaises(IqError):
            await bob["xep_0045"].set_role(ROOM, "first", "none")
        await alice["xep_0045"].set_role(ROOM, "second", "none", reason="Avaunt")
        nick, codes = await alice.gone()
        self.assertEqual((nick, 307 in codes), ("second", True))
        said = [("second", "Thrice the brinded cat"), ("first", "Thrice and once")]
        self.assertEqual(await alice.archive(len(said)), said)

        # Whoever is killed without a word leaves as well; the room stays.
        await bob.enter()
        await bob.logout()
        self.assertEqual((await alice.gone())[0], "second")
        await alice.logout()
        self.node.mim("stop")
        self.node.live()
        carol = await Person(self, "carol", "third").login()
        await carol.enter(maxstanzas=1)
        self.assertEqual(await carol.hears(), said[1])
        self.assertEqual(await carol.archive(len(said)), said)
        with self.assertRaises(IqError):
            await carol["xep_0045"].destroy(ROOM)
        alice = await Person(self, "alice", "first").login()
        await alice.enter()
        await alice["xep_0045"].destroy(ROOM, reason="Macbeth comes")
        self.assertEqual((await carol.gone())[0], "third")
        with self.assertRaises(IqError):
            await carol["xep_0030"].get_info(jid=ROOM)
        await carol.logout()
        await alice.logout()


if __name__ == "__main__":
    unittest.main()
