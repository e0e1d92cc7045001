'use strict';
/** A guarded process from its first message to its end. */
const assert = require('assert');
const net = require('net');
const test = require('node:test');
const { FakeOod, HELLO, get, somePort } = require('./fake_ood.cjs');

test("process.send('ready') works without an IPC channel, before listening too", async (t) => {
  const ood = await FakeOod.start(t);
  const app = ood.run(`
    const answers = [process.send('ready'), process.send({ any: 'thing' }, () => console.log('told')), process.send('no')];
    console.log(answers.join(), process.connected);
    setTimeout(() => {}, 100000);`);
  await app.says(/true,true,true undefined\ntold/);
  const member = await ood.member();
  await member.message('ready');
  assert.deepStrictEqual(member.messages.map((message) => message.ood).slice(0, 2), ['hello', 'ready']);
  assert.strictEqual(member.count('ready'), 1);
});

test("a joined process's ready and an early one use one join", async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(`process.send('ready'); ${HELLO}`);
  await member.message('ready');
  assert.strictEqual(ood.members.length, 1);
});

test('saying ready does not keep a process alive', async (t) => {
  const ood = await FakeOod.start(t);
  const app = ood.run(`process.send('ready');`);
  assert.strictEqual((await app.exit()).code, 0);
  await (await ood.member()).message('ready');
});

test('with an IPC channel process.send stays what it is', async (t) => {
  const ood = await FakeOod.start(t);
  const app = ood.run(`process.send('ready'); ${HELLO}`, { ipc: true });
  const heard = [];
  app.child.on('message', (message) => {
    heard.push(message);
    app.emit('change');
  });
  const member = await ood.member();
  await member.message('listening');
  await member.until(() => heard.length > 0 || app.status !== null, 'the message');
  assert.deepStrictEqual(heard, ['ready']);
  assert.strictEqual(member.count('ready'), 0);
});

test('shutdown reaches the app as a message', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`${HELLO} process.on('message', (m) => { console.log(m); process.exit(4); });`);
  member.tell({ ood: 'shutdown' });
  assert.strictEqual((await app.exit()).code, 4);
  assert.strictEqual(app.out, 'shutdown\n');
});

test('cluster.isWorker is false, and nothing is printed', async (t) => {
  const ood = await FakeOod.start(t);
  const env = { NODE_PENDING_DEPRECATION: '1' };
  const source = `${HELLO} console.log(require('cluster').isWorker, 'noDeprecation' in process);`;
  const { app, member } = await ood.serve(source, { env, ipc: true });
  const client = await ood.visit(member);
  client.socket.write(get('/'));
  await client.reader.answer();
  await app.says(/false false/);
  assert.strictEqual(app.err, '');
});

test('when ood goes, the process ends with status 0 as soon as it has answered', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`
    require('http').createServer((q, r) => { process.once('SIGUSR2', () => r.end('done')); console.log('asked'); }).listen(3000);
    setInterval(() => {}, 1000);`);
  const client = await ood.visit(member);
  client.socket.write(get('/'));
  await app.says(/asked/);
  member.close();
  app.child.kill('SIGUSR2');
  assert.strictEqual((await client.reader.answer()).body, 'done');
  assert.deepStrictEqual(await app.exit(), { code: 0, signal: null });
});

test("when ood goes, the app's own clean-up runs", async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`${HELLO}
    process.on('SIGTERM', () => setTimeout(() => { console.log('clean'); process.exit(9); }, 50));`);
  member.close();
  assert.strictEqual((await app.exit()).code, 9);
  assert.strictEqual(app.out, 'clean\n');
});

test('when ood goes, an app that neither answers nor heeds SIGTERM ends all the same', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`
    require('http').createServer(() => console.log('asked')).listen(3000);
    process.on('SIGTERM', () => console.log('no'));`);
  const client = await ood.visit(member);
  client.socket.write(get('/'));
  await app.says(/asked/);
  member.close();
  assert.strictEqual((await app.exit()).code, 0);
  assert.ok(!client.reader.text);
});

test('a process that finds no ood says so and ends with status 1', async (t) => {
  const ood = await FakeOod.start(t);
  const app = ood.run(HELLO, { env: { OOD_JOIN: `${ood.directory}/nobody` } });
  assert.strictEqual((await app.exit()).code, 1);
  assert.match(app.err, /^ood: cannot join \/.*nobody \(ENOENT\): this process ends\n$/);
});

test('a stream out of step ends the process too', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(HELLO);
  member.write('{"ood": not JSON\n');
  assert.strictEqual((await app.exit()).code, 1);
  assert.match(app.err, /a message is not JSON/);
});

test('numbers: requests, answers by kind, what is open, and a heartbeat', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`
    require('http').createServer((q, r) => {
      if (q.url === '/hang') return;
      if (q.url === '/block') { const end = Date.now() + 700; while (Date.now() < end); }
      r.statusCode = +q.url.slice(1) || 200;
      r.end();
    }).listen(3000);`);
  const client = await ood.visit(member);
  const urls = ['/200', '/201', '/302', '/404', '/500', '/503', '/block'];
  for (const url of urls) client.socket.write(get(url));
  for (const url of urls) assert.ok(await client.reader.answer(), url);
  const hanging = await ood.visit(member);
  hanging.socket.write(get('/hang'));
  const seen = await member.until((m) => m.messages.find((x) => x.ood === 'stats' && x.inFlight === 1));
  const { requests, s2, s3, s4, s5, misdirected, connections, rss } = seen;
  assert.deepStrictEqual({ requests, s2, s3, s4, s5, misdirected, connections },
    { requests: 8, s2: 3, s3: 1, s4: 1, s5: 2, misdirected: 0, connections: 2 });
  assert.ok(rss > 10e6);
  await member.until((m) => m.messages.some((x) => x.ood === 'stats' && x.lag >= 500 && x.lag < 5000), 'the lag');
  hanging.socket.destroy();
  await member.until((m) => m.messages.some((x) => x.ood === 'stats' && x.inFlight === 0 && x.connections === 1));
  const before = member.count('stats');
  await member.message('stats', before + 2); // the first may still bring news
  assert.strictEqual(app.status, null);
});

test('a Node that lacks an internal is left alone, and ood hears of it', async (t) => {
  const ood = await FakeOod.start(t);
  const lame = ood.file(`const { binding } = process; process.binding = (name) => name === 'pipe_wrap' ? {} : binding(name);`);
  const guard = require('./fake_ood.cjs').GUARD;
  const port = somePort();
  const env = { NODE_OPTIONS: `--require ${lame} --require ${guard}` };
  const source = `require('http').createServer((q, r) => r.end('plain')).listen(${port}, '127.0.0.1', () => console.log('up', typeof process.send));`;
  const app = ood.run(source, { env });
  await app.says(/up undefined/);
  const member = await ood.member();
  assert.match((await member.message('unfit')).why, /has no usable Pipe/);
  assert.strictEqual(member.messages[0].ood, 'hello');
  await member.until((m) => m.ended, 'the end of the stream');
  assert.strictEqual(app.status, null);
  const socket = net.connect(port, '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.destroy();
  app.child.kill();
  await app.exit();
  const direct = ood.run(source, { env, ipc: true });
  const heard = await new Promise((resolve) => direct.child.once('internalMessage', resolve));
  assert.strictEqual(heard.ood, 'unfit');
});
