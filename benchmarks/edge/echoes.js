'use strict';
// Load by WebSockets: node echoes.js PORT CLIENTS SECONDS; each client sends when its echo has come.
const net = require('node:net');

const [port, clients, seconds] = process.argv.slice(2).map(Number);
const message = Buffer.from([0x81, 0x80 | 32, 0, 0, 0, 0, ...Buffer.alloc(32, 'x')]);
const echo = message.length - 4;
let echoes = 0;
let errors = 0;
let over = false;

function client() {
  const socket = net.connect(port, '127.0.0.1');
  let open = false;
  let bytes = 0;
  socket.setNoDelay(true);
  socket.on('connect', () =>
    socket.write(
      `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    ),
  );
  socket.on('data', (data) => {
    if (!open) {
      if (!data.toString('latin1').startsWith('HTTP/1.1 101 ')) return socket.destroy(new Error('refused'));
      open = true;
      return socket.write(message);
    }
    bytes += data.length;
    for (; bytes >= echo; bytes -= echo) {
      echoes++;
      if (!over) socket.write(message);
    }
  });
  socket.on('error', () => errors++);
}

for (let i = 0; i < clients; i++) client();
setTimeout(() => {
  over = true;
  console.log(JSON.stringify({ echoes, errors, perSecond: echoes / seconds }));
  process.exit(0);
}, seconds * 1000);
