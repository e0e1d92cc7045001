// node poll.js URL HOST COUNT SECONDS: COUNT clients talk over long polling for a while; print what each of them saw.
const { io } = require('socket.io-client');

const [url, host, count, seconds] = process.argv.slice(2);
const seen = [];
let connected = 0;
for (let number = 0; number < +count; number++) {
  const one = { pids: [], disconnects: [], errors: [], answers: 0 };
  seen.push(one);
  const socket = io(url, {
    transports: ['polling'], extraHeaders: { Host: host }, withCredentials: true, forceNew: true, reconnectionDelay: 200,
  });
  socket.once('connect', () => {
    if (++connected === +count) console.log('connected');
    setInterval(() => socket.connected && socket.emit('say', 'x', (answer) => {
      one.answers++;
      if (!one.pids.includes(answer.pid)) one.pids.push(answer.pid);
    }), 100);
  });
  socket.on('disconnect', (reason) => one.disconnects.push(reason));
  socket.on('connect_error', (error) => one.errors.push(error.message));
}
setTimeout(() => {
  console.log(JSON.stringify(seen));
  process.exit(0);
}, seconds * 1000);
