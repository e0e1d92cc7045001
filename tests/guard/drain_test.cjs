'use strict';
/** Draining: connections go on elsewhere, and none is cut. */
const assert = require('assert');
const events = require('events');
const net = require('net');
const test = require('node:test');
const tls = require('tls');
const { FakeOod, Reader, HELLO, get } = require('./fake_ood.cjs');
const { key, cert } = require('./certificate.cjs');

const SLOW = `
const http = require('http');
http.createServer((q, r) => {
  if (q.url === '/slow') process.once('SIGUSR2', () => r.end('slow'));
  else if (q.url === '/body') { let n = 0; q.on('data', (d) => { n += d.length; }).on('end', () => r.end('got ' + n)); }
  else r.end(q.url);
  if (q.url === '/slow') console.log('asked');
}).listen(3000).keepAliveTimeout = 60000;`;

/** Two workers, so that what one sends back goes on in the other. */
async function two(t, source) {
  const ood = await FakeOod.start(t);
  const old = await ood.serve(source);
  const fresh = await ood.serve(source);
  return { ood, old, fresh };
}

/** Hand everything that comes back from one member to another. */
function passOn(from, to) {
  from.on('message', (message, handle) => {
    if (message.ood === 'back') to.give(0, handle);
  });
}

test('idle connections come back with their descriptor, and go on elsewhere', async (t) => {
  const { ood, old, fresh } = await two(t, `require('http').createServer((q, r) => r.end(String(process.pid))).listen(3000);`);
  const clients = [];
  for (let i = 0; i < 20; i++) {
    const client = await ood.visit(old.member);
    client.socket.write(get('/'));
    assert.strictEqual((await client.reader.answer()).body, String(old.app.child.pid));
    clients.push(client);
  }
  const silent = await ood.visit(old.member); // never sent anything yet
  clients.push(silent);
  passOn(old.member, fresh.member);
  old.member.tell({ ood: 'drain' });
  assert.deepStrictEqual(await old.member.message('drained'), { ood: 'drained', left: 0 });
  assert.strictEqual(old.member.count('back'), 21);
  const last = old.member.messages.filter((message) => message.ood === 'back' || message.ood === 'drained').pop();
  assert.strictEqual(last.ood, 'drained');
  for (const client of clients) {
    client.socket.write(get('/'));
    assert.strictEqual((await client.reader.answer()).body, String(fresh.app.child.pid));
    assert.ok(!client.reader.closed);
  }
});

test('a connection with a request comes back when that is answered, still alive', async (t) => {
  const { ood, old, fresh } = await two(t, SLOW);
  const client = await ood.visit(old.member);
  client.socket.write(get('/slow'));
  await old.app.says(/asked/);
  passOn(old.member, fresh.member);
  old.member.tell({ ood: 'drain' });
  const idle = await ood.visit(old.member);
  await old.member.message('back');
  idle.socket.write(get('/idle'));
  assert.strictEqual((await idle.reader.answer()).body, '/idle');
  assert.strictEqual(old.member.count('drained'), 0);
  old.app.child.kill('SIGUSR2');
  const answer = await client.reader.answer();
  assert.strictEqual(answer.body, 'slow');
  assert.match(answer.head, /Connection: keep-alive/);
  assert.strictEqual((await old.member.message('drained')).left, 0);
  client.socket.write(get('/next'));
  assert.strictEqual((await client.reader.answer()).body, '/next');
});

test('pipelined and split requests lose nothing, however the drain falls', async (t) => {
  const { ood, old, fresh } = await two(t, SLOW);
  passOn(old.member, fresh.member);
  const text = `${get('/1')}POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789${get('/2')}${get('/3')}`;
  const expected = ['/1', 'got 10', '/2', '/3'];
  const clients = [];
  for (let cut = 1; cut < text.length; cut += 3) {
    const client = await ood.visit(old.member);
    client.socket.write(text.slice(0, cut));
    clients.push({ ...client, rest: text.slice(cut) });
  }
  await old.member.until((m) => m.messages.some((message) => message.ood === 'ack' && message.n === clients.length));
  await ood.visit(old.member);
  old.member.tell({ ood: 'drain' });
  await old.member.message('back');
  for (const client of clients) client.socket.write(client.rest);
  for (const { reader } of clients) {
    for (const body of expected) assert.strictEqual((await reader.answer()).body, body);
    assert.ok(!reader.closed);
  }
  assert.strictEqual((await old.member.message('drained')).left, 0);
  assert.strictEqual(old.member.count('back'), clients.length + 1);
});

test('more connections than the pipe holds at once come back while ood is slow to read', async (t) => {
  const { ood, old } = await two(t, HELLO);
  const clients = [];
  for (let i = 0; i < 600; i++) {
    const client = await ood.visit(old.member);
    client.socket.write(get('/'));
    clients.push(client);
  }
  for (const client of clients) await client.reader.answer();
  old.member.pipe.readStop();
  old.member.tell({ ood: 'drain' });
  const probe = await ood.visit(old.member);
  probe.socket.write(get('/probe')); // answered by the old worker: it goes on while the pipe is full
  assert.strictEqual((await probe.reader.answer()).body, '/probe');
  old.member.pipe.readStart();
  assert.strictEqual((await old.member.message('drained')).left, 0);
  assert.strictEqual(old.member.count('back'), 601);
  for (const handle of old.member.returned) handle.close();
});

test('the app sees moved connections close, so that server.close() ends', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`
    const server = require('http').createServer((q, r) => r.end('x')).listen(3000);
    server.on('connection', (s) => s.on('close', (bad) => server.getConnections((e, n) => {
      console.log('closed', Boolean(bad), n);
      server.close(() => process.exit(7));
    })));`);
  const client = await ood.visit(member);
  client.socket.write(get('/'));
  await client.reader.answer();
  member.tell({ ood: 'drain' });
  assert.strictEqual((await app.exit()).code, 7);
  assert.strictEqual(app.out, 'closed false 0\n');
  assert.ok(!client.reader.closed);
  member.returned[0].close();
});

test("ood's pipes are closed when idle, and say so before", async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(SLOW);
  const path = `${ood.directory}/pipes`;
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    ood.keep(socket);
    member.give(0, socket._handle);
  }).listen(path);
  await events.once(server, 'listening');
  t.after(() => server.close());
  const open = () => {
    const socket = net.connect(path);
    return { socket, reader: new Reader(socket) };
  };
  const [idle, busy] = [open(), open()];
  idle.socket.write(get('/'));
  await idle.reader.answer();
  busy.socket.write(get('/slow'));
  await app.says(/asked/);
  member.tell({ ood: 'drain' });
  await idle.reader.until(() => idle.reader.closed, 'the idle pipe to close');
  assert.ok(!busy.reader.closed);
  app.child.kill('SIGUSR2');
  const answer = await busy.reader.answer();
  assert.match(answer.head, /Connection: close/);
  await busy.reader.until(() => busy.reader.closed, 'the busy pipe to close');
  assert.strictEqual((await member.message('drained')).left, 0);
  assert.strictEqual(member.count('back'), 0);
});

test('WebSockets stay until leave, then get 1012; drained tells how many', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`
    const server = require('http').createServer((q, r) => r.end('x')).listen(3000);
    server.on('upgrade', (q, s) => { s.write('HTTP/1.1 101 Go\\r\\n\\r\\n'); s.pipe(s); });
    server.on('close', () => console.log('closed'));`);
  const sockets = [];
  for (const protocol of ['websocket', 'WebSocket', 'other']) {
    const client = await ood.visit(member);
    client.socket.write(get('/', 'a.test', `Connection: Upgrade\r\nUpgrade: ${protocol}\r\n`));
    await client.reader.until(() => client.reader.text.includes('\r\n\r\n'), '101');
    client.reader.text = '';
    sockets.push(client);
  }
  member.tell({ ood: 'drain' });
  assert.strictEqual((await member.message('drained')).left, 3);
  sockets[1].socket.destroy();
  assert.strictEqual((await member.message('drained', 2)).left, 2);
  sockets[0].socket.write('still here');
  await sockets[0].reader.until(() => sockets[0].reader.text === 'still here', 'the echo');
  member.tell({ ood: 'leave' });
  await sockets[0].reader.until(() => sockets[0].reader.text.endsWith('\x88\x02\x03\xf4'), 'close frame 1012');
  await sockets[2].reader.until(() => sockets[2].reader.closed, 'the end of the other protocol');
  assert.strictEqual(sockets[2].reader.text, '');
  await app.says(/closed/);
  assert.strictEqual((await app.exit()).code, 0);
});

test('TLS connections are not moved: their answers end them, idle ones have time', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(`
    const server = require('https').createServer(${JSON.stringify({ key, cert })}, (q, r) => r.end(q.url)).listen(3000);
    server.keepAliveTimeout = 60000;`);
  assert.strictEqual(member.messages[1].tls, true);
  const clients = [];
  for (let i = 0; i < 2; i++) {
    const { socket } = await ood.visit(member);
    const secure = tls.connect({ socket, rejectUnauthorized: false });
    const client = { socket: secure, reader: new Reader(secure) };
    secure.write(get('/first'));
    assert.strictEqual((await client.reader.answer()).body, '/first');
    clients.push(client);
  }
  member.tell({ ood: 'drain' });
  const stats = member.count('stats');
  await member.message('stats', stats + 1);
  assert.ok(!clients[0].reader.closed);
  clients[0].socket.write(get('/second'));
  const answer = await clients[0].reader.answer();
  assert.strictEqual(answer.body, '/second');
  assert.match(answer.head, /Connection: close/);
  await clients[1].reader.until(() => clients[1].reader.closed, 'the idle one to be closed');
  assert.strictEqual((await member.message('drained')).left, 0);
  assert.strictEqual(member.count('back'), 0);
});

test("plain TCP servers' connections are left, and counted", async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(`require('net').createServer((s) => s.pipe(s)).listen(3000);`);
  assert.strictEqual(member.messages[1].http, false);
  const client = await ood.visit(member);
  client.socket.write('ping');
  await client.reader.until(() => client.reader.text === 'ping', 'the echo');
  member.tell({ ood: 'drain' });
  assert.strictEqual((await member.message('drained')).left, 1);
  client.socket.end();
  assert.strictEqual((await member.message('drained', 2)).left, 0);
});

test('HTTP/2 sessions finish their streams and go', async (t) => {
  const ood = await FakeOod.start(t, { own: ['a.test'], foreign: ['b.test'], default: false, port: 1 });
  const { app, member } = await ood.serve(`
    require('http2').createServer((q, r) => {
      if (q.url === '/slow') { process.once('SIGUSR2', () => r.end('slow')); console.log('asked'); } else r.end(q.url);
    }).listen(3000);`);
  const { socket } = await ood.visit(member);
  const session = require('http2').connect('http://a.test', { createConnection: () => socket });
  t.after(() => session.destroy());
  const ask = async (path, authority) => {
    const stream = session.request({ ':path': path, ':authority': authority });
    const [headers] = await events.once(stream, 'response');
    let body = '';
    for await (const chunk of stream) body += chunk;
    return [headers[':status'], body];
  };
  assert.deepStrictEqual(await ask('/', 'a.test'), [200, '/']);
  assert.deepStrictEqual(await ask('/', 'b.test'), [421, '']);
  const slow = ask('/slow', 'a.test');
  await app.says(/asked/);
  member.tell({ ood: 'drain' });
  await events.once(session, 'goaway');
  assert.strictEqual(member.count('drained'), 0);
  app.child.kill('SIGUSR2');
  assert.deepStrictEqual(await slow, [200, 'slow']);
  assert.strictEqual((await member.message('drained')).left, 0);
});
