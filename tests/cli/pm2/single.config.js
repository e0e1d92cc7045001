module.exports = {
  apps: [{ name: 'api', script: 'web/server.js', instances: 'max', env: { NODE_ENV: 'production', TOKEN: 'x y' }, cron_restart: '15 3 * * 0', watch: ['web'], ignore_watch: 'web/tmp' }],
};
