// An ES module that listens only after a top-level await.
import Fastify from 'fastify';
import { setTimeout as pause } from 'node:timers/promises';

await pause(50);
const fastify = Fastify();
fastify.get('/', async () => ({ app: 'esm', pid: process.pid }));
await fastify.listen({ port: Number(process.env.PORT), host: '::' });
