'use strict';
/** Each request: whose it is, whose address it shows, and the way of those that are another app's. */
const assert = require('assert');
const events = require('events');
const http = require('http');
const net = require('net');
const test = require('node:test');
const { FakeOod, Reader, HELLO, get } = require('./fake_ood.cjs');

const OURS = { own: ['a.test', '*.wild.test'], foreign: ['b.test', '*.other.test'], default: false, port: 1 };
const ECHO = `
require('http').createServer((q, r) => {
  const { socket } = q;
  r.end(JSON.stringify({ url: q.url, headers: q.headers, raw: q.rawHeaders, distinct: q.headersDistinct,
    peer: [socket.remoteAddress, socket.remotePort, socket.remoteFamily] }));
}).listen(3000);`;

/** Listen where requests for other hosts go to. */
async function back(t, ood, onRequest) {
  const server = http.createServer(onRequest).listen(ood.backPath);
  await events.once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return server;
}

/** Open a pipe into a member as ood does, and return our end of it. */
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

test('Host decides, on every request of a connection', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  await back(t, ood, (q, r) => r.end(`back ${q.headers.host} ${q.url}`));
  const { member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  const ask = async (host, url = '/') => {
    client.socket.write(get(url, host));
    return (await client.reader.answer()).body;
  };
  for (const host of ['a.test', 'A.Test:8080', 'a.test.', 'x.wild.test', 'x.y.wild.test', 'a.test']) {
    assert.strictEqual(await ask(host), '/', host);
  }
  for (const host of ['b.test', 'wild.test', 'a.test.evil', '[::1]:80', '127.0.0.1']) {
    assert.strictEqual(await ask(host), `back ${host} /`);
  }
  assert.strictEqual(await ask('a.test', 'http://b.test/x'), 'back a.test http://b.test/x');
  assert.strictEqual(await ask('b.test', 'http://a.test/x'), 'http://a.test/x');
});

test('the most specific name decides: a foreign one is not ours because a wildcard of ours covers it', async (t) => {
  const names = { own: ['*.a.test', 'own.b.a.test'], foreign: ['x.a.test', '*.b.a.test'], default: true, port: 1 };
  const ood = await FakeOod.start(t, names);
  await back(t, ood, (q, r) => r.end('back'));
  const { member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  const expected = { 'y.a.test': '/', 'x.a.test': 'back', 'z.x.a.test': '/', 'y.b.a.test': 'back', 'own.b.a.test': '/' };
  for (const [host, answer] of Object.entries({ ...expected, 'else.test': '/' })) {
    client.socket.write(get('/', host));
    assert.strictEqual((await client.reader.answer()).body, answer, host);
  }
});

test('the default app takes every host but foreign ones; changes count at once', async (t) => {
  const ood = await FakeOod.start(t, { ...OURS, default: true });
  await back(t, ood, (q, r) => r.end('back'));
  const { member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  const ask = async (host) => {
    client.socket.write(get('/', host));
    return (await client.reader.answer()).body;
  };
  assert.strictEqual(await ask('unknown.test'), '/');
  assert.strictEqual(await ask('b.test'), 'back');
  assert.strictEqual(await ask('x.other.test'), 'back');
  member.tell({ ood: 'hosts', ...OURS, own: ['b.test'] });
  await member.message('stats'); // whatever was written before has been read by then
  assert.strictEqual(await ask('unknown.test'), 'back');
  assert.strictEqual(await ask('b.test'), '/');
});

test("what came in on the app's own port is the app's", async (t) => {
  const ood = await FakeOod.start(t);
  ood.hosts = { ...OURS, port: ood.front.address().port };
  const { member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  client.socket.write(get('/mine', 'b.test') + get('/too', 'b.test'));
  assert.strictEqual((await client.reader.answer()).body, '/mine');
  assert.strictEqual((await client.reader.answer()).body, '/too');
});

test('every request goes back where ood wants to see them, but on the pipes', async (t) => {
  const ood = await FakeOod.start(t);
  ood.hosts = { ...OURS, port: ood.front.address().port };
  await back(t, ood, (q, r) => r.end('back'));
  const { member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  client.socket.write(get('/mine', 'a.test'));
  assert.strictEqual((await client.reader.answer()).body, '/mine');
  member.tell({ ood: 'hosts', ...ood.hosts, every: true });
  await member.message('stats');
  for (const host of ['a.test', 'b.test', 'a.test']) {
    client.socket.write(get('/mine', host));
    assert.strictEqual((await client.reader.answer()).body, 'back');
  }
  member.tell({ ood: 'hosts', ...ood.hosts });
  await member.message('stats');
  client.socket.write(get('/again', 'a.test'));
  assert.strictEqual((await client.reader.answer()).body, '/again');
});

test('on a further port of the app hosts do not matter, on a public one they do', async (t) => {
  const ood = await FakeOod.start(t);
  const { port } = ood.front.address();
  ood.hosts = { ...OURS, port: 1, every: true };
  await back(t, ood, (q, r) => r.end('back'));
  const { member } = await ood.serve(HELLO.replace('3000', String(port)));
  const client = await ood.visit(member);
  client.socket.write(get('/metrics', '127.0.0.1'));
  assert.strictEqual((await client.reader.answer()).body, '/metrics');
  member.tell({ ood: 'hosts', ...ood.hosts, public: [port] });
  await member.message('stats');
  client.socket.write(get('/metrics', '127.0.0.1'));
  assert.strictEqual((await client.reader.answer()).body, 'back');
});

test('ten thousand made-up hosts leave no trace', async (t) => {
  const ood = await FakeOod.start(t, { ...OURS, default: true });
  const { member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  for (let i = 0; i < 10000; i++) client.socket.write(get('/', `${i}.${'x'.repeat(200)}`));
  client.socket.write(get('/last', 'a.test'));
  await client.reader.until((reader) => client.reader.text.endsWith('/last'), 'the last answer');
});

test("headers of ood's own are removed, from clients without being believed", async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const { member } = await ood.serve(ECHO);
  const client = await ood.visit(member);
  client.socket.write(get('/', 'a.test', 'X-OOD-Peer: 6.6.6.6 6\r\nX-Keep: 1\r\nx-ood-anything: 1\r\nX-Ood-Peer: 7.7.7.7 7\r\n'));
  const seen = JSON.parse((await client.reader.answer()).body);
  assert.deepStrictEqual(seen.raw, ['Host', 'a.test', 'X-Keep', '1']);
  assert.deepStrictEqual(seen.headers, { host: 'a.test', 'x-keep': '1' });
  assert.deepStrictEqual(Object.keys(seen.distinct), ['host', 'x-keep']);
  assert.deepStrictEqual(seen.peer, ['127.0.0.1', client.socket.localPort, 'IPv4']);
});

test('only ood says what proxies say: an app that trusts its proxy must not believe a client', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const own = `${ood.directory}/proxied`;
  const { member } = await ood.serve(`const app = (q, r) => r.end(JSON.stringify(q.rawHeaders.filter((_, i) => i % 2 === 0)));
    require('http').createServer(app).listen(${JSON.stringify(own)});
    require('http').createServer(app).listen(3000);`);
  const said = ['Forwarded', 'X-Forwarded-For', 'x-forwarded-proto', 'X-FORWARDED-HOST', 'X-Real-IP', 'X-Forwarded-Port',
    'X_Forwarded_For', 'x-real_ip'];
  const head = get('/', 'a.test', `${said.map((name) => `${name}: 6.6.6.6\r\n`).join('')}Origin: o\r\nX-Forwarded: x\r\nx_ood_peer: 1\r\napi_key: k\r\nX_Kept: 1\r\n`);
  const client = await ood.visit(member);
  const { socket, reader } = await pipe(t, ood, member);
  const direct = net.connect(own); // a proxy of the app's own
  t.after(() => direct.destroy());
  const kept = ['Origin', 'X-Forwarded', 'api_key', 'X_Kept'];
  for (const [to, from, names] of [
    [client.socket, client.reader, kept], [socket, reader, [...said, ...kept]], [direct, new Reader(direct), [...said, ...kept]],
  ]) {
    to.write(head);
    assert.deepStrictEqual(JSON.parse((await from.answer()).body), ['Host', ...names]);
  }
});

test('on a pipe each request shows the address that ood says, and every host is right', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const { member } = await ood.serve(ECHO);
  const { socket, reader } = await pipe(t, ood, member);
  for (const [text, peer] of [['10.1.2.3 4567', ['10.1.2.3', 4567, 'IPv4']], ['2001:db8::7 80', ['2001:db8::7', 80, 'IPv6']]]) {
    socket.write(get('/', 'b.test', `X-Ood-Peer: ${text}\r\n`));
    const seen = JSON.parse((await reader.answer()).body);
    assert.deepStrictEqual(seen.peer, peer);
    assert.deepStrictEqual(seen.raw, ['Host', 'b.test']);
  }
});

test('on a pipe each request shows whether its client came by HTTPS', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const { member } = await ood.serve(`require('http').createServer((q, r) => r.end(String(Boolean(q.socket.encrypted)))).listen(3000);`);
  const { socket, reader } = await pipe(t, ood, member);
  for (const [text, encrypted] of [['10.1.2.3 4567 https', 'true'], ['10.1.2.3 4567', 'false'], ['10.1.2.3 4567 https', 'true']]) {
    socket.write(get('/', 'a.test', `X-Ood-Peer: ${text}\r\n`));
    assert.strictEqual((await reader.answer()).body, encrypted);
  }
});

test("the app's own unix clients are not believed", async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const own = `${ood.directory}/own`;
  await ood.serve(`${ECHO} require('http').createServer((q, r) => r.end(String(q.socket.remoteAddress) + q.headers['x-ood-peer']))
    .listen(${JSON.stringify(own)});`);
  const socket = net.connect(own);
  t.after(() => socket.destroy());
  socket.write(get('/', 'a.test', 'X-Ood-Peer: 6.6.6.6 6\r\n'));
  assert.strictEqual((await new Reader(socket).answer()).body, 'undefinedundefined');
});

test("a stranger's request and answer are relayed whole", async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const seen = [];
  await back(t, ood, (q, r) => {
    seen.push({ method: q.method, url: q.url, raw: q.rawHeaders });
    r.sendDate = false;
    r.writeHead(201, 'Made', ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-Case', 'Kept']);
    q.on('data', (data) => r.write(data)).on('end', () => r.end('!'));
  });
  const { member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  client.socket.write('POST /p?q=%20 HTTP/1.1\r\nHost: b.test\r\nConnection: keep-alive\r\nX-Ood-Token: t\r\nX-One: 1\r\n'
    + 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
  await client.reader.until(() => client.reader.text.includes('abc'), 'the first half, streamed');
  client.socket.write('2\r\nde\r\n0\r\n\r\n');
  await client.reader.until(() => client.reader.text.includes('0\r\n\r\n'), 'the end');
  const [request] = seen;
  assert.deepStrictEqual([request.method, request.url], ['POST', '/p?q=%20']);
  const headers = request.raw.filter((name, i) => i % 2 === 0);
  assert.deepStrictEqual(headers.slice(0, 4), ['Host', 'X-One', 'Transfer-Encoding', 'X-Ood-Peer']);
  assert.strictEqual(request.raw[7], `127.0.0.1 ${client.socket.localPort}`);
  const head = client.reader.text.split('\r\n\r\n')[0].split('\r\n');
  assert.deepStrictEqual(head.slice(0, 4), ['HTTP/1.1 201 Made', 'Set-Cookie: a=1', 'Set-Cookie: b=2', 'X-Case: Kept']);
  client.reader.text = '';
  client.socket.write(get('/own'));
  assert.strictEqual((await client.reader.answer()).body, '/own');
});

test('Expect: 100-continue of a stranger is answered, also where the app looks at it itself', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  await back(t, ood, (q, r) => q.on('data', (data) => r.end(`${q.headers.expect} ${data}`)));
  const { member } = await ood.serve(`
    const server = require('http').createServer((q, r) => r.end()).listen(3000);
    server.on('checkContinue', (q, r) => { r.writeHead(417); r.end(); });`);
  const client = await ood.visit(member);
  client.socket.write('POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n');
  await client.reader.until(() => client.reader.text === 'HTTP/1.1 100 Continue\r\n\r\n', '100');
  client.reader.text = '';
  client.socket.write('hi');
  await client.reader.until(() => client.reader.text.includes('undefined hi'), 'the answer');
});

test('back-pressure holds both ways', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  let sent = 0;
  await back(t, ood, (q, r) => {
    const chunk = Buffer.alloc(65536, 'x');
    const more = () => {
      while (sent < 64 * 1024 * 1024) {
        sent += chunk.length;
        if (!r.write(chunk)) return r.once('drain', more);
      }
      return r.end();
    };
    more();
  });
  const { app, member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  client.socket.pause();
  client.socket.write(get('/', 'b.test'));
  await member.message('stats', 2);
  await member.until((m) => m.messages.filter((x) => x.ood === 'stats').pop().inFlight === 1);
  const before = sent;
  assert.ok(before < 32 * 1024 * 1024, `${before} bytes went to a client that does not read`);
  client.socket.resume();
  await client.reader.until(() => client.reader.text.length > 64 * 1024 * 1024, 'all of it');
  assert.strictEqual(app.status, null);
});

test('a client that goes away cancels its request to ood', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const asked = new events.EventEmitter();
  await back(t, ood, (q) => {
    asked.emit('request');
    q.socket.on('close', () => asked.emit('close'));
  });
  const { app, member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  client.socket.write(get('/', 'b.test'));
  await events.once(asked, 'request');
  client.socket.destroy();
  await events.once(asked, 'close');
  assert.strictEqual(app.status, null);
  await member.until((m) => m.messages.some((x) => x.ood === 'stats' && x.misdirected === 1 && x.inFlight === 0));
});

test('a way back that is shut gives 502, one that breaks cuts the answer', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const { app, member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  client.socket.write(get('/', 'b.test'));
  await client.reader.until(() => client.reader.text.startsWith('HTTP/1.1 502'), '502');
  await back(t, ood, (q, r) => {
    r.writeHead(200, { 'Content-Length': 100 });
    r.write('half');
    setImmediate(() => q.socket.destroy());
  });
  const other = await ood.visit(member);
  other.socket.write(get('/', 'b.test'));
  await other.reader.until(() => other.reader.closed, 'the cut');
  assert.strictEqual(app.err, '');
});

test('an idle connection that ood closed in the meantime is not an error', async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const server = await back(t, ood, (q, r) => r.end('back'));
  const { member } = await ood.serve(HELLO);
  const client = await ood.visit(member);
  for (let i = 0; i < 20; i++) {
    client.socket.write(get('/', 'b.test'));
    assert.strictEqual((await client.reader.answer()).body, 'back');
    server.closeIdleConnections();
  }
});

test("a stranger's upgrade is relayed byte by byte, its CONNECT refused", async (t) => {
  const ood = await FakeOod.start(t, OURS);
  const server = await back(t, ood, () => {});
  server.on('upgrade', (q, socket, head) => {
    const { connection, upgrade } = q.headers;
    assert.deepStrictEqual([connection, upgrade], ['Upgrade', 'websocket'], 'beyond doubt an upgrade');
    socket.write(`HTTP/1.1 101 Go\r\nX-Peer: ${q.headers['x-ood-peer']}\r\n\r\n${head}`);
    socket.pipe(socket);
  });
  const { member } = await ood.serve(`
    const server = require('http').createServer((q, r) => r.end('x')).listen(3000);
    for (const event of ['upgrade', 'connect']) server.on(event, (q, s) => s.end('HTTP/1.1 200 mine\\r\\n\\r\\n'));`);
  const client = await ood.visit(member);
  client.socket.write(`${get('/ws', 'b.test', 'Connection: x, upgrade\r\nUpgrade: websocket\r\nX-Ood-Peer: 6.6.6.6 6\r\n')}early`);
  await client.reader.until(() => client.reader.text.includes('early'), 'the echo of the first bytes');
  assert.match(client.reader.text, new RegExp(`^HTTP/1.1 101 Go\r\nX-Peer: 127.0.0.1 ${client.socket.localPort}\r\n`));
  client.socket.write('later');
  await client.reader.until(() => client.reader.text.includes('later'), 'the echo');
  client.socket.end();
  await client.reader.until(() => client.reader.closed, 'the end');
  for (const [host, expected] of [['b.test', /^HTTP\/1.1 421 /], ['a.test', /^HTTP\/1.1 200 mine/]]) {
    const other = await ood.visit(member);
    other.socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
    await other.reader.until(() => expected.test(other.reader.text), String(expected));
  }
});
