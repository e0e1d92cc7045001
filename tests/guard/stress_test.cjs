'use strict';
/** Clients of every kind through several replacements of the worker: no failure, no close. */
const assert = require('assert');
const test = require('node:test');
const { FakeOod, get } = require('./fake_ood.cjs');

const CLIENTS_PER_STYLE = 8;
const ROLLS = 4;
/** Each client makes at least so many exchanges with each worker. */
const EXCHANGES_PER_ROLL = 3;

const APP = `
require('http').createServer((q, r) => {
  const parts = [];
  q.on('data', (d) => parts.push(d)).on('end', () => {
    const body = Buffer.concat(parts).toString();
    const answer = q.method + ' ' + q.url + ' ' + body;
    if (q.url.startsWith('/slow')) setTimeout(() => r.end(answer), 30);
    else if (q.url.startsWith('/stream')) {
      r.write(answer.slice(0, 4));
      setTimeout(() => {
        r.write(answer.slice(4));
        setTimeout(() => r.end(), 10);
      }, 10);
    } else r.end(answer);
  });
}).listen(3000).keepAliveTimeout = 60000;`;

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/** One request and what must come back. */
function exchange(path, body) {
  if (body === undefined) return { text: get(path), answer: `GET ${path} ` };
  const head = `POST ${path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${body.length}\r\n\r\n`;
  return { text: head + body, answer: `POST ${path} ${body}` };
}

async function inPieces(socket, text, size) {
  for (let at = 0; at < text.length; at += size) {
    socket.write(text.slice(at, at + size));
    await pause(1);
  }
}

const STYLES = {
  plain: async (socket, ask) => socket.write(ask('/plain')),
  pipelined: async (socket, ask) => socket.write(ask('/p1') + ask('/p2', 'body') + ask('/p3')),
  'split heads': async (socket, ask) => inPieces(socket, ask('/split/head'), 7),
  'split bodies': async (socket, ask) => inPieces(socket, ask('/split/body', 'x'.repeat(200)), 60),
  slow: async (socket, ask) => socket.write(ask('/slow')),
  streamed: async (socket, ask) => socket.write(ask('/stream')),
  'slow and pipelined': async (socket, ask) => socket.write(ask('/slow/1') + ask('/slow/2') + ask('/fast')),
  pauses: async (socket, ask) => {
    await pause(40);
    socket.write(ask('/pause'));
  },
};

/** One client: exchanges until it is told to stop. */
async function client(state, style, { socket, reader }, number) {
  let rounds = 0;
  while (!state.over || rounds < EXCHANGES_PER_ROLL) {
    const expected = [];
    await STYLES[style](socket, (path, body) => {
      const { text, answer } = exchange(`${path}/${number}/${rounds}`, body);
      expected.push(answer);
      return text;
    });
    for (const answer of expected) {
      await reader.until(() => reader.closed || reader.text, style);
      assert.ok(!reader.closed, `${style}: closed`);
      assert.strictEqual((await reader.answer()).body, answer, style);
      state.answers++;
    }
    rounds++;
    state.rounds.set(reader, rounds);
  }
}

test('every kind of keep-alive client outlives its workers', async (t) => {
  const ood = await FakeOod.start(t);
  const state = { over: false, answers: 0, rounds: new Map() };
  let worker = await ood.serve(APP);
  const running = [];
  const failed = [];
  for (const style of Object.keys(STYLES)) {
    for (let i = 0; i < CLIENTS_PER_STYLE; i++) {
      const visitor = await ood.visit(worker.member);
      state.rounds.set(visitor.reader, 0);
      running.push(client(state, style, visitor, i).catch((error) => failed.push(error)));
    }
  }
  for (let roll = 0; roll < ROLLS && failed.length === 0; roll++) {
    const goals = [...state.rounds].map(([reader, rounds]) => [reader, rounds + EXCHANGES_PER_ROLL]);
    while (failed.length === 0 && goals.some(([reader, goal]) => state.rounds.get(reader) < goal)) await pause(5);
    const old = worker;
    const fresh = await ood.serve(APP);
    old.member.on('message', (message, handle) => {
      if (message.ood === 'back') fresh.member.give(0, handle);
    });
    old.member.tell({ ood: 'drain' });
    assert.strictEqual((await old.member.message('drained')).left, 0);
    old.app.child.kill('SIGKILL');
    worker = fresh;
  }
  state.over = true;
  await Promise.all(running);
  assert.deepStrictEqual(failed, []);
  t.diagnostic(`${state.answers} answers, ${running.length} connections, ${ROLLS} workers replaced`);
});
