// The port is written down, as in many a tutorial: this is one of two apps that both want 3000.
const express = require('express');
const app = express();

app.get('/', (req, res) => res.json({ app: 'port-3000-two', pid: process.pid }));
app.listen(3000, () => console.log('listening on http://localhost:3000'));
