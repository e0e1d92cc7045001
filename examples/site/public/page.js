'use strict';

const at = (id) => document.getElementById(id);
const ASKED_TIMES = 10;

function duration(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function show(facts) {
  at('instance').textContent = facts.instance;
  at('pid').textContent = facts.pid;
  at('uptime').textContent = duration(facts.uptimeSeconds);
  at('requests').textContent = facts.requests;
  at('memory').textContent = `${(facts.memoryBytes / 1048576).toFixed(0)} MB`;
  at('node').textContent = facts.node;
}

function connected(yes) {
  at('light').classList.toggle('on', yes);
  at('state').textContent = yes ? 'live' : 'reconnecting';
}

const ticks = new EventSource('ticks');
ticks.onopen = () => connected(true);
// Each stream ends after some seconds and the next one follows; only a failed attempt counts.
let attempts = 0;
ticks.onerror = () => {
  attempts += 1;
  if (attempts > 1) connected(false);
};
ticks.onmessage = (event) => {
  attempts = 0;
  show(JSON.parse(event.data));
};

async function ask() {
  const answer = document.createElement('span');
  try {
    const facts = await (await fetch('facts', { cache: 'no-store' })).json();
    answer.textContent = `worker ${facts.instance}`;
  } catch {
    answer.textContent = 'no answer';
    answer.className = 'failed';
  }
  at('answers').append(answer);
}

at('ask').addEventListener('click', async () => {
  at('ask').disabled = true;
  at('answers').replaceChildren();
  // Side by side, so that the browser opens several connections.
  await Promise.all(Array.from({ length: ASKED_TIMES }, ask));
  at('ask').disabled = false;
});
