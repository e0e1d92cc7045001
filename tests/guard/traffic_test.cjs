'use strict';
/** What ood is told of finished requests: counts always, each one where there is an access log. */
const assert = require('assert');
const events = require('events');
const http = require('http');
const net = require('net');
const test = require('node:test');
const { FakeOod, Reader, get } = require('./fake_ood.cjs');

const OURS = { own: ['a.test'], foreign: [], default: false, port: 1 };
const LOGGED = { ...OURS, log: true };
const APP = `
require('http').createServer((q, r) => {
  if (q.url === '/hang') return;
  if (q.url === '/begun') { r.write('x'); return; }
  r.statusCode = +q.url.slice(1) || 200;
  setTimeout(() => r.end('12345'), q.url === '/204' ? 30 : 0);
}).on('upgrade', (q, s) => s.end('HTTP/1.1 101 Yes\\r\\n\\r\\nbye')).listen(3000);`;

const last = (member) => member.messages.filter((x) => x.ood === 'stats').pop();
const lines = (member) => member.messages.filter((x) => x.ood === 'access').flatMap((x) => x.lines);

async function pipe(t, ood, member) {
  const path = `${ood.directory}/pipe${ood.files++}`;
  const server = net.createServer({ pauseOnConnect: true }).listen(path);
  await events.once(server, 'listening');
  const socket = net.connect(path);
  const [accepted] = await events.once(server, 'connection');
  ood.keep(accepted);
  member.give(0, accepted._handle);
  server.close();
  t.after(() => socket.destroy());
  return { socket, reader: new Reader(socket) };
}

test('answers are counted by status and duration, those on pipes apart', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const { member } = await ood.serve(APP);
  const client = await ood.visit(member);
  for (const status of ['200', '304', '404', '503', '204']) client.socket.write(get(`/${status}`, 'a.test'));
  const piped = await pipe(t, ood, member);
  piped.socket.write(get('/200', 'b.test', 'X-Ood-Peer: 10.1.2.3 4567\r\n'));
  await member.until(() => last(member) && last(member).handed.status.join() === '0,2,1,1,1' && last(member).piped.status[1] === 1);
  const { handed, piped: other } = last(member);
  assert.strictEqual(handed.buckets.reduce((a, b) => a + b), 5);
  assert.ok(handed.buckets.slice(6).reduce((a, b) => a + b) >= 1, 'the slow one');
  assert.ok(handed.ms >= 25 && handed.inFlight === 0);
  assert.strictEqual(handed.bytes, client.socket.bytesRead);
  assert.strictEqual(other.bytes, piped.socket.bytesRead);
  assert.deepStrictEqual(lines(member), []);
});

test('requests for other apps are not counted here', async (t) => {
  const ood = await FakeOod.start(t, LOGGED);
  const back = http.createServer((q, r) => r.end('elsewhere')).listen(ood.backPath);
  await events.once(back, 'listening');
  t.after(() => {
    back.close();
    back.closeAllConnections();
  });
  const { member } = await ood.serve(APP);
  const client = await ood.visit(member);
  client.socket.write(get('/', 'b.test'));
  await client.reader.answer();
  client.socket.write(get('/', 'a.test'));
  await client.reader.answer();
  await member.until(() => last(member) && last(member).misdirected === 1 && lines(member).length === 1);
  assert.deepStrictEqual(last(member).handed.status, [0, 1, 0, 0, 0]);
  assert.ok(last(member).handed.bytes < client.socket.bytesRead, "the stranger's answer is not in it");
});

test('each request is a line, if ood wants it', async (t) => {
  const ood = await FakeOod.start(t, LOGGED);
  const { member } = await ood.serve(APP);
  const client = await ood.visit(member);
  const fields = 'User-Agent: \u00e9"\t\r\nReferer: r\r\nX-Request-Id: 7\r\n';
  client.socket.write(get(`/404?${'x'.repeat(5000)}`, 'a.test', fields), 'latin1');
  await client.reader.answer();
  client.socket.write(get('/200', 'a.test') + get('/503', 'a.test'));
  await member.until(() => lines(member).length === 3);
  const [[time, address, method, url, version, status, bytes, ms, referer, agent, host, id], ...rest] = lines(member);
  assert.ok(Math.abs(time - Date.now()) < 60000 && ms >= 0);
  assert.deepStrictEqual([address, method, version, status, bytes, referer, agent, host, id],
    ['127.0.0.1', 'GET', '1.1', 200, 5, 'r', '\u00e9"', 'a.test', '7']);
  assert.strictEqual(url.length, 2051);
  assert.deepStrictEqual(rest.map((line) => [line[3], line[5]]), [['/200', 200], ['/503', 503]]);
  member.tell({ ood: 'hosts', ...OURS });
  await member.message('stats', member.count('stats') + 1);
  client.socket.write(get('/200', 'a.test'));
  await member.until(() => last(member).handed.status[1] === 3);
  assert.strictEqual(lines(member).length, 3);
});

test('clients that leave, and upgrades', async (t) => {
  const ood = await FakeOod.start(t, LOGGED);
  const { member } = await ood.serve(APP);
  for (const url of ['/hang', '/begun']) {
    const client = await ood.visit(member);
    client.socket.write(get(url, 'a.test'));
    await member.until(() => last(member) && last(member).handed.inFlight === 1);
    client.socket.destroy();
    await member.until(() => last(member).handed.inFlight === 0);
  }
  const client = await ood.visit(member);
  client.socket.write(get('/up', 'a.test', 'Connection: Upgrade\r\nUpgrade: x\r\n'));
  await member.until(() => lines(member).length === 3);
  assert.deepStrictEqual(lines(member).map((line) => [line[3], line[5]]), [['/hang', 499], ['/begun', 200], ['/up', 101]]);
  await member.until(() => last(member).handed.status.join() === '1,1,0,1,0');
});

test('a reader that is slow costs lines, which are counted, and no memory', async (t) => {
  const ood = await FakeOod.start(t, LOGGED);
  const { member } = await ood.serve(APP);
  const client = await ood.visit(member);
  const many = get(`/?${'y'.repeat(1500)}`, 'a.test').repeat(50);
  for (let i = 0; i < 40; i++) client.socket.write(many);
  await member.until(() => last(member) && last(member).handed.status[1] === 2000);
  const lost = () => member.messages.filter((x) => x.ood === 'access').reduce((sum, x) => sum + x.lost, 0);
  await member.until(() => lines(member).length + lost() === 2000);
});
