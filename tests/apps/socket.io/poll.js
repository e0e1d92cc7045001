// node poll.js URL HOST COUNT ANSWERS [trouble]: COUNT clients talk over long polling until stdin has ended and each
// of them has had ANSWERS, or with "trouble" until the first one is in any; print what each of them saw.
const { io } = require('socket.io-client');

const [url, host, count, answers, trouble] = process.argv.slice(2);
const seen = [];
let connected = 0;
let told = false;
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
process.stdin.resume().on('end', () => { told = true; });
setInterval(() => {
  const over = trouble
    ? seen.some((one) => one.errors.length || one.disconnects.length)
    : told && seen.every((one) => one.answers >= +answers);
  if (!over) return;
  console.log(JSON.stringify(seen));
  process.exit(0);
}, 50);
