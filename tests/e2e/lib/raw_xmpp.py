"""A client by hand over TLS: what it says and hears is XML as it stands, so a test sees every stanza,
its order and its doubles."""

import base64
import re
import socket
import ssl

STREAM = ("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
          "to='{}' version='1.0'>")


class RawXmpp:
    def __init__(self, endpoint, domain, ca_file, timeout=20):
        host, _, port = endpoint.rpartition(":")
        context = ssl.create_default_context(cafile=ca_file)
        context.set_alpn_protocols(["xmpp-client"])
        self.domain = domain
        self.socket = context.wrap_socket(
            socket.create_connection((host, int(port)), timeout=timeout), server_hostname=domain)
        self.heard = ""
        self.full = None
        self.ids = 0

    # --- words
    def say(self, text):
        self.socket.sendall(text.encode())

    def _read(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError(f"closed; heard {self.heard!r}")
        self.heard += piece.decode()

    def until(self, word):
        """All up to and with `word`; what stands behind it is heard next."""
        while word not in self.heard:
            self._read()
        said, _, self.heard = self.heard.partition(word)
        return said + word

    def until_closed(self):
        try:
            while True:
                self._read()
        except (ConnectionError, ssl.SSLError, OSError):
            said, self.heard = self.heard, ""
            return said

    # --- logging in
    def authenticate(self, user, password):
        self.say(STREAM.format(self.domain))
        self.until("</stream:features>")
        plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        self.say(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
        answer = self.until(">")
        while "<success" not in answer:
            answer += self.until(">")
            if "failure" in answer:
                raise AssertionError(answer)
        self.say(STREAM.format(self.domain))
        self.until("</stream:features>")
        return self

    def bind(self, resource):
        answer = self.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                                f"<resource>{resource}</resource></bind>")
        self.full = re.search(r"<jid>([^<]+)</jid>", answer)[1]
        return self

    def login(self, user, password, resource, presence=True):
        self.authenticate(user, password).bind(resource)
        if presence:
            self.present()
        return self

    def present(self, inside=""):
        """Available; back when the server has dealt with it."""
        self.say(f"<presence>{inside}</presence>")
        return self.sync()

    # --- stanzas
    def iq(self, kind, inside, to=None):
        """The answer; what came before it is still to be heard."""
        self.ids += 1
        address = f" to='{to}'" if to else ""
        self.say(f"<iq type='{kind}' id='q{self.ids}'{address}>{inside}</iq>")
        answer = re.compile(rf"<iq (?=[^>]*id='q{self.ids}')(?=[^>]*type='(?:result|error)')"
                            r"(?:[^>]*/>|[^>]*>.*?</iq>)", re.S)
        while not (found := answer.search(self.heard)):
            self._read()
        self.heard = self.heard[:found.start()] + self.heard[found.end():]
        return found[0]

    def sync(self):
        self.iq("get", "<ping xmlns='urn:xmpp:ping'/>", self.domain)
        return self

    def message(self, to, body, inside="", identity=None):
        self.ids += 1
        identity = identity or f"m{self.ids}"
        self.say(f"<message to='{to}' type='chat' id='{identity}'><body>{body}</body>{inside}</message>")

    def body(self):
        """Of the next message that has one."""
        self.until("<body>")
        return self.until("</body>")[:-len("</body>")]

    def manage(self):
        """Stream management with resumption; the id to resume by."""
        self.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        self.until("<enabled ")
        return re.search(r"id='([^']+)'", self.until("/>"))[1]

    def resume(self, previd, handled):
        self.say(f"<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='{handled}'/>")
        answer = self.until(">")
        while "<resumed" not in answer and "</failed>" not in answer:
            answer += self.until(">")
        return answer

    def acknowledge(self, handled):
        self.say(f"<a xmlns='urn:xmpp:sm:3' h='{handled}'/>")

    def cut(self):
        self.socket.close()

    def leave(self):
        self.say("</stream:stream>")
        self.until_closed()
        self.socket.close()
