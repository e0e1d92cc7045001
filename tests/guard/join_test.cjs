'use strict';
/** Joining: who joins and when, what is said, and how connections are settled. */
const assert = require('assert');
const { execFileSync } = require('child_process');
const test = require('node:test');
const { FakeOod, GUARD, HELLO, get } = require('./fake_ood.cjs');

const THREE = `
const http = require('http');
const listen = (port, host) => http.createServer((q, r) => r.end(String(port))).listen(port, host);`;

test('without OOD_JOIN the guard loads nothing', () => {
  const script = `console.log(Object.keys(require.cache).filter((name) => /procmon/.test(name)).length, !process.send)`;
  const env = { ...process.env, NODE_OPTIONS: `--require ${GUARD}` };
  delete env.OOD_JOIN;
  const out = execFileSync(process.execPath, ['-e', script], { env, encoding: 'utf8' });
  assert.strictEqual(out, '1 true\n');
});

test('a process says hello, then listening, and serves what it is given', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(HELLO);
  assert.deepStrictEqual(member.messages[0], {
    ood: 'hello', v: 1, token: 'token', pid: app.child.pid, node: process.version,
  });
  assert.deepStrictEqual(member.messages[1], {
    ood: 'listening', id: 0, port: 3000, host: null, tls: false, http: true,
  });
  const client = await ood.visit(member);
  client.socket.write(get('/one') + get('/two'));
  assert.strictEqual((await client.reader.answer()).body, '/one');
  assert.strictEqual((await client.reader.answer()).body, '/two');
});

test('acknowledgements are cumulative and fewer than connections', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(HELLO);
  const clients = [];
  for (let i = 0; i < 50; i++) clients.push(await ood.client());
  app.child.kill('SIGSTOP'); // it finds them all at once, however fast it is
  for (const client of clients) member.give(0, client.handle);
  app.child.kill('SIGCONT');
  await member.until((m) => m.messages.some((message) => message.ood === 'ack' && message.n === 50));
  assert.ok(member.count('ack') < 25, `${member.count('ack')} acks`);
  assert.strictEqual(member.count('nack'), 0);
  for (const client of clients) client.socket.destroy();
});

test('messages and connections may share reads', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(HELLO);
  const [one, two] = [await ood.client(), await ood.client()];
  const line = `${JSON.stringify({ ood: 'something new', text: 'CACBCC' })}\n`;
  member.write(line.slice(0, 9));
  member.write(`${line.slice(9)}${line}C@`, one.handle);
  member.write(line);
  member.write('C@', two.handle);
  for (const { socket, reader } of [one, two]) {
    socket.write(get('/'));
    assert.strictEqual((await reader.answer()).status, 200);
  }
});

test('a connection whose descriptor was lost on the way is told, and the next one is not taken for it', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(HELLO);
  const clients = [];
  for (let i = 0; i < 3; i++) clients.push(await ood.client());
  member.write('C@');
  assert.deepStrictEqual(await member.message('nack'), { ood: 'nack', n: 1, full: true });
  member.write('C@', clients[0].handle);
  member.write(`${JSON.stringify({ ood: 'something new' })}\nC`);
  await new Promise((resolve) => setTimeout(resolve, 100));
  member.write('@');
  member.write('C@', clients[1].handle);
  await member.message('nack', 2);
  member.write('C', clients[2].handle);
  member.write('@');
  for (const { socket, reader } of clients) {
    socket.write(get('/'));
    assert.strictEqual((await reader.answer()).status, 200);
  }
  await member.until((m) => m.messages.some((message) => message.ood === 'ack' && message.n === 5));
  assert.deepStrictEqual(member.messages.filter((message) => message.ood === 'nack').map((message) => message.n), [1, 3]);
});

test('a server that throws in its connection listener does not put the stream out of step', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(`
    process.on('uncaughtException', () => {});
    let n = 0;
    require('http').createServer((q, r) => r.end(q.url)).listen(3000)
      .on('connection', () => { if (n++ === 0) throw new Error('once'); });`);
  const [one, two] = [await ood.client(), await ood.client()];
  member.write(`${JSON.stringify({ ood: 'hosts', own: ['a.test'], foreign: [], default: false, port: 1 })}\nC@`, one.handle);
  member.write('C@', two.handle);
  two.socket.write(get('/'));
  assert.strictEqual((await two.reader.answer()).status, 200);
  await member.until((m) => m.messages.some((message) => message.ood === 'ack' && message.n === 2));
  member.tell({ ood: 'drain' });
  await member.message('back');
});

test('a connection for a closed server is refused unread, before the ack that covers it', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(`
    const server = require('http').createServer((q, r) => r.end('x')).listen(3000);
    require('http').createServer((q, r) => { server.close(); r.end('closed'); }).listen(3001);`);
  await member.message('listening', 2);
  const closer = await ood.visit(member, 1);
  closer.socket.write(get('/'));
  await closer.reader.answer();
  assert.deepStrictEqual(await member.message('close'), { ood: 'close', id: 0 });
  const { number } = await ood.visit(member, 0);
  await member.until((m) => m.messages.some((message) => message.ood === 'ack' && message.n === number));
  const settled = member.messages.filter((message) => message.n === number).map((message) => message.ood);
  assert.deepStrictEqual(settled, ['nack', 'ack']);
  await ood.visit(member, 17);
  await member.message('nack', 2);
});

test('maxConnections refuses, so that another worker can take the connection', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(`
    const server = require('http').createServer((q, r) => r.end('x')).listen(3000);
    server.maxConnections = 1;`);
  const first = await ood.visit(member);
  await ood.visit(member);
  assert.deepStrictEqual(await member.message('nack'), { ood: 'nack', n: 2 });
  first.socket.write(get('/'));
  assert.strictEqual((await first.reader.answer()).status, 200);
});

test('two ports get two ids, and each its own connections', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(`${THREE} listen(3000); listen(3001, '127.0.0.1');`);
  const second = await member.message('listening', 2);
  assert.deepStrictEqual([second.id, second.port, second.host], [1, 3001, '127.0.0.1']);
  for (const [id, port] of [[0, '3000'], [1, '3001']]) {
    const client = await ood.visit(member, id);
    client.socket.write(get('/'));
    assert.strictEqual((await client.reader.answer()).body, port);
  }
});

test('each descendant that listens joins, no other', async (t) => {
  const ood = await FakeOod.start(t);
  const helper = ood.file(`process.send('helper'); setTimeout(() => {}, 100000);`);
  const { app, member } = await ood.serve(`
    const { fork } = require('child_process');
    const helper = fork(${JSON.stringify(helper)});
    process.on('exit', () => helper.kill());
    helper.on('message', (m) => {
      console.log(m);
      require('http').createServer((q, r) => { r.end(); process.exit(0); }).listen(3000);
    });`);
  await app.says(/helper/);
  assert.strictEqual(member.messages[0].pid, app.child.pid);
  const client = await ood.visit(member);
  client.socket.write(get('/'));
  await app.exit();
  assert.strictEqual(ood.members.length, 1);
});

test('the workers of an app that forks its own cluster join, and its primary hears of them', async (t) => {
  const ood = await FakeOod.start(t);
  const app = ood.run(`
    const cluster = require('cluster');
    if (cluster.isPrimary) {
      cluster.on('listening', (worker, address) => console.log('listening', address.port));
      cluster.on('exit', (worker, code) => console.log('exit', code, worker.exitedAfterDisconnect));
      process.on('SIGUSR2', () => cluster.disconnect());
      cluster.fork(); cluster.fork();
    } else {
      require('http').createServer((q, r) => r.end(String(process.pid))).listen(3000);
    }`);
  const [one, two] = [await ood.member(1), await ood.member(2)];
  const pids = new Set();
  for (const member of [one, two]) {
    await member.message('listening');
    const client = await ood.visit(member);
    client.socket.write(get('/', 'a.test', 'Connection: close\r\n'));
    pids.add((await client.reader.answer()).body);
  }
  assert.strictEqual(pids.size, 2);
  assert.ok(!pids.has(String(app.child.pid)));
  await app.says(/listening 3000\nlistening 3000/);
  app.child.kill('SIGUSR2');
  await app.says(/exit 0 true\nexit 0 true/);
  assert.strictEqual((await app.exit()).code, 0);
});

test('a worker thread that listens joins by itself', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`
    const { Worker, isMainThread } = require('worker_threads');
    if (isMainThread) new Worker(__filename);
    else require('http').createServer((q, r) => r.end(typeof process.send)).listen(3000);`);
  assert.strictEqual(member.messages[0].pid, app.child.pid);
  const client = await ood.visit(member);
  client.socket.write(get('/'));
  assert.strictEqual((await client.reader.answer()).body, 'undefined');
});

test('launchers, modules and preloads do not matter', async (t) => {
  const ood = await FakeOod.start(t);
  ood.file(`import http from 'node:http'; import { createServer } from 'node:net';
    http.createServer((q, r) => r.end('module')).listen(3000);`, 'app.mjs');
  ood.file(`globalThis.preloaded = true;`, 'preload.mjs');
  const node = JSON.stringify(process.execPath);
  const [major] = process.versions.node.split('.').map(Number);
  const commands = [['sh', '-c', `${node} app.mjs; exit 3`], [process.execPath, 'app.mjs']];
  if (major > 18) commands.push([process.execPath, '--import', './preload.mjs', 'app.mjs']);
  ood.file(`const c = require('child_process').spawn(process.execPath, ['app.mjs'], { stdio: 'inherit' });
    process.on('SIGTERM', () => c.kill());`, 'launcher.cjs');
  commands.push([process.execPath, 'launcher.cjs']);
  for (const command of commands) {
    const { app, member } = await ood.serve('', { command });
    const client = await ood.visit(member);
    client.socket.write(get('/'));
    assert.strictEqual((await client.reader.answer()).body, 'module', command.join(' '));
    assert.strictEqual(app.err, '');
  }
});
