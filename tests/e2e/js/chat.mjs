// An XMPP client driven by lines of JSON: the first line on stdin is the login, each further one a
// message {to, body}; `hosts` in the login are names with their addresses, which no DNS has. Events go
// to stdout, one JSON object a line. The end of stdin logs out.
// The module lives below build/, not beside this file (MONGOOSE_E2E_JS names the folder).
import { createRequire } from "node:module";
import dns from "node:dns";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.MONGOOSE_E2E_JS}/package.json`);
const { client, xml } = await import(pathToFileURL(require.resolve("@xmpp/client")));

const say = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);

let xmpp;

// Sockets ask dns.lookup for their addresses.
function know(hosts) {
  const lookup = dns.lookup;
  dns.lookup = (name, options, done) => {
    const address = hosts[name];
    if (address === undefined) return lookup(name, options, done);
    process.nextTick(() => (options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4)));
  };
}

async function login({ hosts, ...options }) {
  know(hosts);
  xmpp = client(options);
  xmpp.reconnect.stop();
  xmpp.timeout = 20_000; // milliseconds; its two seconds are short on a loaded machine
  xmpp.on("error", (error) => say("error", { text: String(error) }));
  xmpp.on("offline", () => say("offline"));
  xmpp.on("stanza", (stanza) => {
    const body = stanza.is("message") && stanza.getChildText("body");
    if (body) say("message", { from: stanza.attrs.from, body });
  });
  xmpp.on("online", async (jid) => {
    await xmpp.send(xml("presence"));
    const socket = xmpp.socket?.socket ?? xmpp.socket;
    say("online", { jid: jid.toString(), encrypted: xmpp.isSecure?.() ?? Boolean(socket?.encrypted) });
  });
  await xmpp.start();
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (xmpp === undefined) {
    login(request).catch((error) => say("error", { text: String(error) }));
  } else {
    await xmpp.send(xml("message", { type: "chat", to: request.to }, xml("body", {}, request.body)));
  }
}
if (xmpp !== undefined) await xmpp.stop().catch(() => {});
process.exit(0);
