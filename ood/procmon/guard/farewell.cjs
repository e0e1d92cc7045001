'use strict';
/**
 * Ends: of upgraded connections when the worker leaves, of the process when ood is gone.
 */

/** A WebSocket close frame with status 1012, "service restart": clients come again, to another worker. */
const SERVICE_RESTART = Buffer.from([0x88, 0x02, 0x03, 0xf4]);
/** How long the client has for its own close frame. */
const CLOSE_MILLISECONDS = 1000;
/** How long a process whose ood is gone may finish its answers and the app's own clean-up. */
const LINGER_MILLISECONDS = 5000;
const LOOK_MILLISECONDS = 20;

const { setTimeout, setInterval } = globalThis;

/** @param {Map<object, string>} upgraded sockets, and what they were upgraded to */
function closeUpgraded(upgraded) {
  for (const [socket, protocol] of upgraded) {
    if (protocol === 'websocket' && socket.writable) socket.write(SERVICE_RESTART);
    setTimeout(() => socket.end(), CLOSE_MILLISECONDS).unref();
  }
}

/**
 * ood is gone: nothing can reach this process any more.
 *
 * @param {string} why empty at a plain end of the stream
 * @param {object} member
 */
function lose(why, member) {
  if (why) process.stderr.write(`ood: ${why}: this process ends\n`);
  const code = why ? 1 : 0;
  setTimeout(() => process.exit(code), LINGER_MILLISECONDS);
  setInterval(() => {
    if (member.requests.inFlight > 0) return;
    if (process.listenerCount('SIGTERM') > 0 && !member.terminated) {
      member.terminated = true; // the app's own clean-up; it ends the process, or the limit does
      process.kill(process.pid, 'SIGTERM');
    } else if (!member.terminated) {
      process.exit(code);
    }
  }, LOOK_MILLISECONDS);
}

module.exports = { closeUpgraded, lose };
