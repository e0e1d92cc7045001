'use strict';
/** `listen()` looks to the app as it does in plain Node, though nothing is bound. */
const assert = require('assert');
const { execFile } = require('child_process');
const events = require('events');
const fs = require('fs');
const net = require('net');
const test = require('node:test');
const { FakeOod, get, somePort } = require('./fake_ood.cjs');

/** Run a script with the guard and without; return what both print. */
async function both(ood, source) {
  const guarded = ood.run(source);
  await guarded.exit();
  const env = ood.environment({ NODE_OPTIONS: '' });
  delete env.OOD_JOIN;
  const plain = await new Promise((resolve) => {
    execFile(process.execPath, [ood.file(source)], { env, encoding: 'utf8' }, (error, out, err) => resolve(out + err));
  });
  return { guarded: guarded.out + guarded.err, plain };
}

const BAD = `
const net = require('net');
const tries = [[-1], [65536], [1.5], ['no port'], [''], [{}], [{ port: 'x' }], [{ port: true }], [true], [Symbol('s')],
  [{ port: 70000, host: '::' }], [{ port: PORT, signal: 1 }], [{ port: PORT, signal: null }], [{ port: NaN }]];
for (const args of tries) {
  const server = net.createServer();
  server.on('error', (error) => console.log('event', error.code));
  try {
    server.listen(...args);
    server.close();
    console.log('taken');
  } catch (error) {
    console.log(error.name, error.code, error.message);
  }
}`;

test('bad arguments are refused as in plain Node', async (t) => {
  const ood = await FakeOod.start(t);
  const { guarded, plain } = await both(ood, BAD.replace(/PORT/g, somePort()));
  assert.strictEqual(guarded, plain);
  assert.match(plain, /ERR_SOCKET_BAD_PORT/);
  assert.strictEqual(ood.members.length, 0);
});

const ORDER = `
const net = require('net');
const say = (...words) => console.log(...words);
const server = net.createServer();
server.on('listening', () => say('event', this === server));
server.on('close', () => say('close'));
const same = server.listen({ port: PORT, host: '127.0.0.1' }, () => {
  say('callback', server.listening, server.address());
  try { server.listen(PORT); } catch (error) { say(error.code); }
  const second = net.createServer();
  second.on('error', (error) => {
    say(error.code, error.syscall, error.address, error.port, error.message, second.listening);
    server.close(() => {
      say('closed', server.listening, server.address());
      server.listen(PORT, '127.0.0.1', () => {
        say('again', server.address());
        server.close();
        server.close((error) => say(error.code));
        say('done');
      });
    });
  });
  second.listen(PORT, '127.0.0.1');
});
say('returned', same === server);
process.on('exit', (code) => say('exit', code));`;

test('events, errors, address, close and listening again are as in plain Node', async (t) => {
  const ood = await FakeOod.start(t);
  const { guarded, plain } = await both(ood, ORDER.replace(/PORT/g, somePort()));
  assert.strictEqual(guarded, plain);
  assert.match(plain, /EADDRINUSE/);
});

const ABORT = `
const server = require('http').createServer();
const controller = new AbortController();
server.on('close', () => console.log('close', server.listening));
server.listen({ port: PORT, signal: controller.signal }, () => controller.abort());
const aborted = new AbortController();
aborted.abort();
require('net').createServer().on('close', () => console.log('never')).listen({ port: OTHER, signal: aborted.signal });`;

test('an AbortSignal closes the server', async (t) => {
  const ood = await FakeOod.start(t);
  const port = somePort();
  const { guarded, plain } = await both(ood, ABORT.replace('PORT', port).replace('OTHER', port + 1));
  assert.strictEqual(guarded, plain);
});

test('addresses that overlap clash within a process, others do not', async (t) => {
  const ood = await FakeOod.start(t);
  const app = ood.run(`
    const net = require('net');
    (async () => {
      for (const [first, second] of [['127.0.0.1', '::1'], [undefined, '127.0.0.1'], ['localhost', '127.0.0.1'], ['0.0.0.0', '::']]) {
        const one = net.createServer().listen(3000, first);
        const two = net.createServer().listen(3000, second);
        console.log(await new Promise((r) => two.once('listening', () => r('both')).once('error', (e) => r(e.code))));
        one.close();
        if (two.listening) two.close();
      }
    })();`);
  await app.exit();
  assert.strictEqual(app.out, 'both\nEADDRINUSE\nEADDRINUSE\nEADDRINUSE\n');
});

test('exclusive and reusePort bind nothing', async (t) => {
  const ood = await FakeOod.start(t);
  const port = somePort();
  const taken = net.createServer().listen(port);
  await events.once(taken, 'listening');
  t.after(() => taken.close());
  const { member } = await ood.serve(`
    const http = require('http');
    http.createServer((q, r) => r.end('exclusive')).listen({ port: ${port}, exclusive: true });
    http.createServer((q, r) => r.end('reuse')).listen({ port: String(${port} + 1), reusePort: true, host: '127.0.0.1' });`);
  await member.message('listening', 2);
  for (const [id, body] of [[0, 'exclusive'], [1, 'reuse']]) {
    const client = await ood.visit(member, id);
    client.socket.write(get('/'));
    assert.strictEqual((await client.reader.answer()).body, body);
  }
});

test('port 0, unix paths, descriptors and UDP stay real, and make nobody join', async (t) => {
  const ood = await FakeOod.start(t);
  const unix = `${ood.directory}/own`;
  const app = ood.run(`
    const net = require('net');
    if (process.argv[2] === 'child') {
      const fd = net.createServer().listen({ fd: 3 }, () => console.log('fd', fd.address().port));
      return;
    }
    const [any, none, path, other] = [0, 0, 0, 0].map(() => net.createServer());
    const udp = require('dgram').createSocket('udp4');
    any.listen(0, '127.0.0.1', () => none.listen(() => path.listen(${JSON.stringify(unix)}, () => {
      udp.bind(0, '127.0.0.1', () => console.log('ports', any.address().port, none.address().port, udp.address().port));
    })));
    other.listen(0, '127.0.0.1', () => {
      require('child_process').spawn(process.execPath, [__filename, 'child'], { stdio: ['ignore', 1, 2, other._handle.fd] });
    });`);
  const [, descriptor] = await app.says(/fd (\d+)/);
  const [, ...ports] = await app.says(/ports (\d+) (\d+) (\d+)/);
  for (const target of [ports[0], ports[1], descriptor, unix]) {
    const socket = net.connect(target);
    await events.once(socket, 'connect');
    socket.destroy();
  }
  assert.ok(Number(ports[2]) > 0);
  assert.ok(fs.existsSync(unix));
  assert.strictEqual(ood.members.length, 0);
});

test('a server that closes at once, probing for a free port, does not join', async (t) => {
  const ood = await FakeOod.start(t);
  const app = ood.run(`
    const server = require('net').createServer();
    server.listen(3000, () => server.close(() => console.log('free')));`);
  assert.strictEqual((await app.exit()).code, 0);
  assert.strictEqual(app.out, 'free\n');
  assert.strictEqual(ood.members.length, 0);
});

test('an unreferenced server lets the process end, a referenced one does not', async (t) => {
  const ood = await FakeOod.start(t);
  const before = ood.run(`require('http').createServer().listen(3000).unref();`);
  assert.strictEqual((await before.exit()).code, 0);
  const { app, member } = await ood.serve(`
    const server = require('http').createServer((q, r) => { server.unref(); server.ref(); r.end(String(server._handle.hasRef())); });
    server.listen(3000);
    process.on('SIGUSR2', () => server.unref());`);
  const client = await ood.visit(member);
  client.socket.write(get('/', 'a.test', 'Connection: close\r\n'));
  assert.strictEqual((await client.reader.answer()).body, 'true');
  await client.reader.until(() => client.reader.closed);
  assert.strictEqual(app.status, null);
  app.child.kill('SIGUSR2');
  assert.strictEqual((await app.exit()).code, 0);
});

test('ids go round, so that none is reused soon', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(`
    const server = require('http').createServer((q, r) => {
      r.end();
      server.close(() => server.listen(3000));
      server.closeIdleConnections();
    }).listen(3000);`);
  const client = await ood.visit(member);
  client.socket.write(get('/', 'a.test', 'Connection: close\r\n'));
  assert.strictEqual((await member.message('listening', 2)).id, 1);
  assert.deepStrictEqual(await member.message('close'), { ood: 'close', id: 0 });
});

test('the 65th server gets EMFILE', async (t) => {
  const ood = await FakeOod.start(t);
  const app = ood.run(`
    const net = require('net');
    const servers = [];
    for (let i = 0; i < 64; i++) servers.push(net.createServer().listen(3000 + i));
    net.createServer().on('error', (error) => {
      console.log(error.code);
      servers[0].close();
      net.createServer().listen(4000, () => console.log('again'));
    }).listen(3999);`);
  await app.says(/EMFILE\nagain/);
  const member = await ood.member();
  assert.strictEqual((await member.message('listening', 64)).port, 4000);
});

test('closing the last server and its connections ends the process', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`
    const server = require('http').createServer((q, r) => { r.setHeader('Connection', 'close'); r.end('bye'); server.close(() => console.log('closed')); });
    server.listen(3000);`);
  const client = await ood.visit(member);
  client.socket.write(get('/'));
  assert.strictEqual((await client.reader.answer()).body, 'bye');
  assert.strictEqual((await app.exit()).code, 0);
  assert.strictEqual(app.out, 'closed\n');
});
