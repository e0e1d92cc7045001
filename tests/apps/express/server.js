// Express as its own documentation shows it, on the port of the environment.
const express = require('express');
const app = express();

app.use(express.json());
app.get('/', (req, res) => res.json({ app: 'express', pid: process.pid, ip: req.ip, host: req.hostname }));
app.get('/env', (req, res) =>
  res.json({
    port: process.env.PORT,
    nodeEnv: process.env.NODE_ENV,
    instance: process.env.NODE_APP_INSTANCE,
    options: process.env.NODE_OPTIONS,
  }),
);
app.post('/echo', (req, res) => res.json(req.body));
app.get('/boom', () => {
  throw new Error('boom');
});

app.listen(process.env.PORT || 3000);
