'use strict';
/**
 * What is set up before the app runs, and the joining itself at its first `listen()`.
 */
const internals = require('./internals.cjs');
const { Servers } = require('./servers.cjs');

/**
 * @param {NodeJS.ProcessEnv} env
 */
function start(env) {
  const node = internals.load();
  let joined = null;
  const join = () => {
    if (joined === null) joined = require('./member.cjs').join(node, servers, env);
    return joined;
  };
  const servers = new Servers(node, join);
  servers.install();
  if (typeof process.send !== 'function' && require('worker_threads').isMainThread) {
    require('./ready.cjs').provide(() => join().ready());
  }
}

module.exports = { start };
