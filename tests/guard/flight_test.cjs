'use strict';
/** What a guarded process leaves of its requests when it dies. */
const assert = require('assert');
const fs = require('fs');
const path = require('path');
const test = require('node:test');
const { FakeOod, get } = require('./fake_ood.cjs');

const SERVER = `
  require('http').createServer((q, r) => {
    const name = q.url.slice(1).split('?')[0];
    if (name === 'hello') r.end('hello');
    if (name === 'throw') setTimeout(() => { throw Object.assign(new TypeError('boom'), { code: 'EBOOM' }); }, 10);
    if (name === 'exit') process.exit(3);
    if (name === 'reject') Promise.reject(new Error('nobody cares'));
    if (name === 'abort') process.abort();
  }).listen(3000);`;

function file(ood, app) {
  return path.join(ood.directory, `last-${app.child.pid}`);
}

function left(ood, app) {
  return JSON.parse(fs.readFileSync(file(ood, app), 'utf8'));
}

async function ask(ood, member, url) {
  const client = await ood.visit(member);
  client.socket.write(get(url));
  return client;
}

test('an uncaught exception leaves itself and the requests in flight, without their queries', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(SERVER);
  await ask(ood, member, '/waits?token=secret');
  await member.until((m) => m.messages.some((x) => x.ood === 'stats' && x.inFlight === 1));
  await ask(ood, member, '/throw?password=secret');
  assert.strictEqual((await app.exit()).code, 1);
  const { error, requests } = left(ood, app);
  assert.deepStrictEqual([error.name, error.message, error.code], ['TypeError', 'boom', 'EBOOM']);
  assert.match(error.stack, /at /);
  assert.deepStrictEqual(requests.map((one) => one.slice(0, 2)), [['GET', '/throw'], ['GET', '/waits']]);
  assert.ok(requests[0][2] <= requests[1][2]);
  assert.strictEqual(fs.statSync(file(ood, app)).mode & 0o777, 0o600);
});

test('a rejection and process.exit leave them, too; a plain end leaves nothing', async (t) => {
  const ood = await FakeOod.start(t);
  for (const [url, code, message] of [['/reject', 1, 'nobody cares'], ['/exit', 3, undefined]]) {
    const { app, member } = await ood.serve(SERVER);
    await ask(ood, member, url);
    assert.strictEqual((await app.exit()).code, code);
    const { error, requests } = left(ood, app);
    assert.strictEqual(error === null ? undefined : error.message, message);
    assert.deepStrictEqual(requests.map((one) => one[1]), [url]);
  }
  const { app, member } = await ood.serve(`${SERVER} process.on('SIGTERM', () => process.exit(0));`);
  await (await ask(ood, member, '/hello')).reader.answer();
  app.child.kill();
  assert.strictEqual((await app.exit()).code, 0);
  assert.ok(!fs.existsSync(file(ood, app)));
});

test('an app that heeds exceptions itself sees what it always saw', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(`
    process.on('uncaughtException', (error) => { console.log('caught', error); setTimeout(() => process.exit(7), 50); });
    require('http').createServer(() => { throw null; }).listen(3000);`);
  await ask(ood, member, '/null');
  assert.strictEqual((await app.exit()).code, 7);
  assert.strictEqual(app.out, 'caught null\n');
  assert.deepStrictEqual(left(ood, app).requests.map((one) => one[1]), ['/null']);
});

test('requests that take long are told with the numbers', async (t) => {
  const ood = await FakeOod.start(t);
  const { member } = await ood.serve(SERVER);
  await ask(ood, member, '/waits?long');
  const { slow } = await member.until((m) => m.messages.find((x) => x.ood === 'stats' && x.slow));
  assert.deepStrictEqual(slow.map((one) => one.slice(0, 2)), [['GET', '/waits']]);
  assert.ok(slow[0][2] >= 1000, slow);
});

test('while ood watches, what is in flight is known after an abort', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(SERVER);
  member.tell({ ood: 'watch', on: true });
  await (await ask(ood, member, '/hello?1')).reader.answer();
  const clients = [await ask(ood, member, '/waits?2'), await ask(ood, member, '/waits?3')];
  clients.push(await ask(ood, member, '/abort?secret'));
  assert.strictEqual((await app.exit()).signal, 'SIGABRT');
  const slots = fs.readFileSync(file(ood, app), 'latin1').match(/[^]{1,256}/g);
  const lines = slots.filter((one) => one[0] !== '\0').map((one) => one.split('\n')[0]);
  assert.deepStrictEqual(lines.sort(), ['GET /abort', 'GET /waits', 'GET /waits']);
});

test('ood can stop to watch', async (t) => {
  const ood = await FakeOod.start(t);
  const { app, member } = await ood.serve(SERVER);
  member.tell({ ood: 'watch', on: true });
  await (await ask(ood, member, '/hello')).reader.answer();
  member.tell({ ood: 'watch', on: false });
  await (await ask(ood, member, '/hello')).reader.answer();
  await ask(ood, member, '/abort');
  await app.exit();
  assert.strictEqual(fs.readFileSync(file(ood, app), 'latin1')[0], '\0');
});
