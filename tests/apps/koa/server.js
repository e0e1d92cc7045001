const Koa = require('koa');
const app = new Koa();

app.use(async (ctx) => {
  ctx.body = { app: 'koa', pid: process.pid, ip: ctx.ip, host: ctx.hostname };
});
app.listen(process.env.PORT);
