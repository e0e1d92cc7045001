// Fastify binds 127.0.0.1 only and closes in an orderly way on SIGTERM.
const fastify = require('fastify')({ logger: false });

fastify.get('/', async (request) => ({ app: 'fastify', pid: process.pid, ip: request.ip, host: request.hostname }));
fastify.post('/echo', async (request) => request.body);

process.on('SIGTERM', () => fastify.close().then(() => process.exit(0)));
fastify.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
