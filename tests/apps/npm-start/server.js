// Runs below npm, a shell and cross-env; says that it is ready where no IPC channel reaches.
const express = require('express');
const app = express();

app.get('/', (req, res) => res.json({ app: 'npm-start', pid: process.pid, greeting: process.env.GREETING }));
app.listen(process.env.PORT, () => {
  if (process.send) process.send('ready');
});
