'use strict';
// A WebSocket that sends back what it gets: enough of RFC 6455 for messages below 126 bytes.
const { createHash } = require('node:crypto');

const MAGIC = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

module.exports = (request, socket) => {
  const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + MAGIC).digest('base64');
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let rest = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  socket.on('data', (data) => {
    rest = rest.length > 0 ? Buffer.concat([rest, data]) : data;
    while (rest.length >= 6 && rest.length >= 6 + (rest[1] & 127)) {
      const length = rest[1] & 127;
      const frame = Buffer.alloc(2 + length);
      frame[0] = rest[0];
      frame[1] = length;
      for (let i = 0; i < length; i++) frame[2 + i] = rest[6 + i] ^ rest[2 + (i & 3)];
      socket.write(frame);
      rest = rest.subarray(6 + length);
    }
  });
};
