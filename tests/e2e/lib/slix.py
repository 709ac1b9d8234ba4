"""slixmpp (Debian's) as a client that registers, logs in over STARTTLS, chats and resumes.

It trusts only the authority of the test and checks the server's name, so a login proves that the
TLS session reaches from the client to the node: the balancer passed it through.
"""

import asyncio
import logging
import warnings

logging.getLogger("slixmpp.stringprep").setLevel(logging.ERROR)

import slixmpp  # pylint: disable=wrong-import-position

warnings.filterwarnings("ignore", category=DeprecationWarning, module="slixmpp")


class SlixClient(slixmpp.ClientXMPP):
    """One client. `host`, `port` is where it connects (the balancer), `source` its own address."""

    def __init__(self, user, domain, password, host, port, ca_file, source=None, register=False,
                 resource="slix", tls="starttls"):
        super().__init__(f"{user}@{domain}/{resource}", password)
        self.target = (host, port)
        self.source = source
        self.tls = tls
        self.local_port = None
        self.tls_version = None
        self.resumed_streams = 0
        self._messages = asyncio.Queue()
        self._online = asyncio.get_event_loop().create_future()
        self._register = register
        self.ca_certs = ca_file
        self.ssl_context.check_hostname = True
        if tls == "direct":
            self.ssl_context.set_alpn_protocols(["xmpp-client"])  # XEP-0368
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0198")
        if register:
            self.register_plugin("xep_0077")
            self["xep_0077"].force_registration = True
            # slixmpp 1.8 holds every iq back until the session starts, registration's own included.
            self._always_send_everything = True
            self.add_event_handler("register", self._on_register)
        self.add_event_handler("session_start", self._on_session_start)
        self.add_event_handler("session_resumed", self._on_resumed)
        self.add_event_handler("message", self._on_message)
        for fault in ("failed_all_auth", "connection_failed", "stream_error", "ssl_invalid_chain"):
            self.add_event_handler(fault, lambda error, name=fault: self._fail(f"{name}: {error}"))
        self.add_event_handler("disconnected", lambda reason: self._fail(f"disconnected: {reason}"))

    async def login(self, deadline_s=30.0):
        """Connects and returns when the session is there (roster fetched, presence sent)."""
        self.connect(self.target, force_starttls=self.tls == "starttls", use_ssl=self.tls == "direct")
        await asyncio.wait_for(asyncio.shield(self._online), deadline_s)
        return self

    async def say(self, to, text):
        self.send_message(mto=to, mbody=text, mtype="chat")

    async def heard(self, deadline_s=15.0):
        """(from, text) of the next chat message."""
        return await asyncio.wait_for(self._messages.get(), deadline_s)

    async def ping(self, deadline_s=15.0):
        await self["xep_0199"].ping(jid=self.boundjid.domain, timeout=deadline_s)

    async def drop(self):
        """The connection breaks, without a word of XMPP: what a phone in a tunnel does."""
        gone = self.disconnected
        self._online = asyncio.get_event_loop().create_future()
        self._online.add_done_callback(lambda f: f.cancelled() or f.exception())
        self.transport.abort()
        await asyncio.wait_for(asyncio.shield(gone), 10)
        self._online = asyncio.get_event_loop().create_future()

    async def logout(self):
        self._online.add_done_callback(lambda f: f.cancelled() or f.exception())
        if self.transport is not None:
            if self["xep_0198"].enabled_in:  # else its last messages wait for its next session
                self["xep_0198"].send_ack()
            await asyncio.wait_for(self.disconnect(wait=1.0), 10)

    async def _connect_routine(self):
        # slixmpp's own has no way to choose a source address, and retries for ever.
        self.event_when_connected = "connected"
        direct = self.tls == "direct"
        try:
            await self.loop.create_connection(
                lambda: self, *self.target, ssl=self.get_ssl_context() if direct else None,
                server_hostname=self.requested_jid.domain if direct else None,
                local_addr=(self.source, 0) if self.source else None)
        except OSError as error:
            self.event("connection_failed", error)

    async def _pick_dns_answer(self, domain, service=None):
        return None

    def _fail(self, why):
        if not self._online.done():
            self._online.set_exception(ConnectionError(f"{self.requested_jid}: {why}"))

    async def _on_session_start(self, _event):
        self._note_connection()
        if self._register:  # once is enough: not again after a resumption
            self._register = False
            self.unregister_feature("register", self["xep_0077"].order)
        await self.get_roster()
        self.send_presence()
        if not self._online.done():
            self._online.set_result(True)

    async def _on_resumed(self, _event):
        self._note_connection()
        self.resumed_streams += 1
        if not self._online.done():
            self._online.set_result(True)

    def _note_connection(self):
        self.local_port = self.transport.get_extra_info("sockname")[1]
        tls = self.transport.get_extra_info("ssl_object")
        self.tls_version = tls.version() if tls else None

    async def _on_register(self, _form):
        request = self.Iq()
        request["type"] = "set"
        request["register"]["username"] = self.boundjid.user
        request["register"]["password"] = self.password
        try:
            await request.send(timeout=15)
            self._always_send_everything = False
        except slixmpp.exceptions.IqError as error:
            self._fail(f"registration refused: {error.iq['error']['condition']}")
        except slixmpp.exceptions.IqTimeout:
            self._fail("registration was not answered")

    async def _on_message(self, message):
        if message["type"] in ("chat", "normal") and message["body"]:
            await self._messages.put((message["from"].bare, message["body"]))


async def exchange(one, other, text):
    """Both ways, and it arrives unchanged."""
    await one.say(other.boundjid.full, f"{text} (1)")
    there = await other.heard()
    await other.say(one.boundjid.full, f"{text} (2)")
    back = await one.heard()
    expected = (one.boundjid.bare, f"{text} (1)"), (other.boundjid.bare, f"{text} (2)")
    if (there, back) != expected:
        raise AssertionError(f"heard {there} and {back}, expected {expected}")
