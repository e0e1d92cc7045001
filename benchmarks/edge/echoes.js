'use strict';
// Load by WebSockets: node echoes.js PORT CLIENTS SECONDS; each client sends when its echo has come.
const net = require('node:net');
const { performance } = require('node:perf_hooks');

/** Latencies are counted in steps of this many, up to a second. */
const STEP_MICROSECONDS = 10;
const STEPS = 100_000;

const [port, clients, seconds] = process.argv.slice(2).map(Number);
const message = Buffer.from([0x81, 0x80 | 32, 0, 0, 0, 0, ...Buffer.alloc(32, 'x')]);
const echo = Buffer.from([0x81, 32, ...Buffer.alloc(32, 'x')]);
const steps = new Uint32Array(STEPS);
let echoes = 0;
let errors = 0;

function client() {
  const socket = net.connect(port, '127.0.0.1');
  let rest = Buffer.alloc(0);
  let open = false;
  let sent = 0;
  const send = () => {
    sent = performance.now();
    socket.write(message);
  };
  socket.setNoDelay(true);
  socket.on('connect', () =>
    socket.write(
      `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    ),
  );
  socket.on('data', (data) => {
    rest = rest.length > 0 ? Buffer.concat([rest, data]) : data;
    if (!open) {
      const end = rest.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!rest.toString('latin1', 0, end).startsWith('HTTP/1.1 101 ')) return socket.destroy(new Error('refused'));
      open = true;
      rest = rest.subarray(end + 4);
      return send();
    }
    if (rest.length < echo.length) return;
    if (!rest.equals(echo)) return socket.destroy(new Error('not what was sent'));
    rest = Buffer.alloc(0);
    echoes++;
    steps[Math.min(STEPS - 1, Math.floor(((performance.now() - sent) * 1000) / STEP_MICROSECONDS))]++;
    send();
  });
  socket.on('error', () => {}); // its close is counted
  socket.on('close', () => errors++); // none is to end before all do
}

/** @returns {number} milliseconds within which 99 of 100 echoes came */
function p99() {
  let left = echoes * 0.99;
  for (let i = 0; i < STEPS; i++) if ((left -= steps[i]) <= 0) return ((i + 1) * STEP_MICROSECONDS) / 1000;
  return (STEPS * STEP_MICROSECONDS) / 1000;
}

for (let i = 0; i < clients; i++) client();
setTimeout(() => {
  console.log(JSON.stringify({ echoes, errors, perSecond: echoes / seconds, p99: p99() }));
  process.exit(0);
}, seconds * 1000);
