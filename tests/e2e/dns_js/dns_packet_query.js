// Asks the DNS server on the given port with npm's dns-packet and prints what it read as JSON.
'use strict';
const dgram = require('node:dgram');
const packet = require('dns-packet');

const port = Number(process.argv[2]);

function ask(name, type) {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket('udp4');
    const timer = setTimeout(() => reject(new Error(`no answer for ${name} ${type}`)), 5000);
    socket.on('message', (message) => {
      clearTimeout(timer);
      socket.close();
      resolve(packet.decode(message));
    });
    const query = packet.encode({
      type: 'query', id: 4711, flags: packet.RECURSION_DESIRED, questions: [{ name, type }],
      additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 1232 }],
    });
    socket.send(query, port, '127.0.0.1');
  });
}

(async () => {
  const a = await ask('xmpp.example.org', 'A');
  const srv = await ask('_xmpp-client._tcp.example.org', 'SRV');
  const nx = await ask('missing.example.org', 'A');
  console.log(JSON.stringify({
    A: a.answers.map((answer) => answer.data),
    SRV: srv.answers.map((answer) => answer.data),
    NX: nx.rcode,
  }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
