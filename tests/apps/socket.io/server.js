const http = require('node:http');
const { Server } = require('socket.io');

const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ app: 'socket.io', pid: process.pid }));
});
new Server(server).on('connection', (socket) => {
  socket.on('say', (text, answer) => answer({ text, pid: process.pid }));
});
server.listen(process.env.PORT);
