'use strict';
/**
 * `process.send` for a process that has no IPC channel, as the app's process has none below `npm start`.
 *
 * Apps written for other process managers call `process.send('ready')` without asking whether it is there.
 */

/**
 * @param {() => void} ready called at each `process.send('ready')`
 */
function provide(ready) {
  process.send = function send(message, ...rest) {
    if (message === 'ready') ready();
    const done = rest.find((argument) => typeof argument === 'function');
    if (done) process.nextTick(done, null);
    return true;
  };
}

module.exports = { provide };
