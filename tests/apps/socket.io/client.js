// node client.js URL HOST TEXT: say TEXT over a WebSocket, print the answer.
const { io } = require('socket.io-client');

const [url, host, text] = process.argv.slice(2);
const socket = io(url, { transports: ['websocket'], extraHeaders: { Host: host }, reconnection: false });
socket.on('connect_error', (error) => {
  console.error(error.message);
  process.exit(1);
});
socket.timeout(60_000).emit('say', text, (error, answer) => {
  console.log(error ? error.message : JSON.stringify(answer));
  socket.close();
  process.exit(error ? 1 : 0);
});
