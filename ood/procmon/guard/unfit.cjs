'use strict';
/**
 * What happens in a Node in which the guard can't work: ood is told, and Node is left alone.
 */

/** How long a process that has no IPC channel tries to tell ood; it holds up nothing. */
const TELL_MILLISECONDS = 2000;

/**
 * @param {Error} error what is wrong
 * @param {NodeJS.ProcessEnv} env
 */
function report(error, env) {
  const why = String((error && error.message) || error).slice(0, 500);
  if (typeof process.send === 'function' && process.connected) {
    process.send({ cmd: 'NODE_OOD', ood: 'unfit', why }, undefined, {}, () => {});
    return;
  }
  const socket = require('net').connect(env.OOD_JOIN);
  socket.on('error', () => {});
  socket.setTimeout(TELL_MILLISECONDS, () => socket.destroy());
  const hello = { ood: 'hello', v: 1, token: env.OOD_TOKEN, pid: process.pid, node: process.version };
  socket.end(`${JSON.stringify(hello)}\n${JSON.stringify({ ood: 'unfit', why })}\n`);
  socket.unref();
}

module.exports = { report };
