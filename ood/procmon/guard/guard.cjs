'use strict';
/**
 * The guard: preloaded into every process that runs under ood (`NODE_OPTIONS=--require .../guard.cjs`).
 *
 * docs/join-protocol.md says what it does and how it talks to ood.  This entry does as little as can be: nothing at
 * all without `OOD_JOIN`, and otherwise only what has to be in place before the app's first `listen()`.
 */
if (process.env.OOD_JOIN) {
  try {
    require('./start.cjs').start(process.env);
  } catch (error) {
    require('./unfit.cjs').report(error, process.env);
  }
}
