// An app that forks a cluster of its own, two processes for each worker of ood.
const cluster = require('node:cluster');

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
} else {
  const express = require('express');
  const app = express();
  app.get('/', (req, res) => res.json({ app: 'own-cluster', pid: process.pid, parent: process.ppid }));
  app.listen(process.env.PORT);
}
