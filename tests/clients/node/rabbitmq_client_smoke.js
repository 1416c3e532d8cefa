// rabbitmq-client, which reconnects by itself.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Connection, ConsumerStatus } from 'rabbitmq-client';
import { Inbox, URL, failure, name, run, scenario, soon } from './smoke.js';

scenario('a publisher declares what it needs and a consumer gets json', async (connection) => {
  const exchange = name('events');
  const publisher = connection.createPublisher({
    confirm: true,
    maxAttempts: 2,
    exchanges: [{ exchange, type: 'topic', autoDelete: true }],
  });
  const inbox = new Inbox();
  const consumer = connection.createConsumer(
    {
      queue: name('user-events'),
      queueOptions: { exclusive: true },
      qos: { prefetchCount: 2 },
      exchanges: [{ exchange, type: 'topic', autoDelete: true }],
      queueBindings: [{ exchange, routingKey: 'users.*' }],
    },
    inbox.put,
  );
  await soon(once(consumer, 'ready'), 'the consumer');
  await publisher.send({ exchange, routingKey: 'posts.new' }, { id: 0 });
  await publisher.send({ exchange, routingKey: 'users.visit', durable: true, headers: { n: 1 } }, { id: 1 });
  const message = await inbox.take('the message');
  assert.deepEqual([message.body, message.routingKey, message.headers], [{ id: 1 }, 'users.visit', { n: 1 }]);
  assert.equal(inbox.size, 0);
  await publisher.close();
  await consumer.close();
});

scenario('a consumer requeues and drops', async (connection) => {
  const queue = name('requeue');
  await connection.queueDeclare({ queue, autoDelete: true });
  const publisher = connection.createPublisher({ confirm: true });
  const inbox = new Inbox();
  const consumer = connection.createConsumer({ queue, queueOptions: { autoDelete: true } }, (message) => {
    inbox.put([message.body, message.redelivered]);
    if (message.body === 'drop') return ConsumerStatus.DROP;
    return message.redelivered ? ConsumerStatus.ACK : ConsumerStatus.REQUEUE;
  });
  await soon(once(consumer, 'ready'), 'the consumer');
  await publisher.send(queue, 'requeue');
  assert.deepEqual(await inbox.take('the message'), ['requeue', false]);
  assert.deepEqual(await inbox.take('the message again'), ['requeue', true]);
  await publisher.send(queue, 'drop');
  assert.deepEqual(await inbox.take('the dropped one'), ['drop', false]);
  await publisher.close();
  await consumer.close();
  // The queue went with its only consumer.
  const error = await failure(connection.queueDeclare({ queue, passive: true }));
  assert.equal(error.code, 'NOT_FOUND');
});

scenario('an unroutable mandatory message comes back', async (connection) => {
  const inbox = new Inbox();
  const channel = await connection.acquire();
  channel.on('basic.return', inbox.put);
  await channel.confirmSelect();
  await channel.basicPublish({ routingKey: name('nowhere'), mandatory: true }, 'lost');
  const returned = await inbox.take('the message');
  assert.deepEqual([returned.replyCode, returned.replyText, returned.body], [312, 'NO_ROUTE', 'lost']);
  await channel.close();
});

scenario('a procedure call is answered by direct reply-to', async (connection) => {
  const queue = name('rpc');
  const server = connection.createConsumer({ queue, queueOptions: { exclusive: true } }, async (request, reply) => {
    await reply({ sum: request.body.a + request.body.b });
  });
  await soon(once(server, 'ready'), 'the server');
  const client = connection.createRPCClient({ confirm: true });
  const answers = await Promise.all([1, 2, 3].map((n) => client.send(queue, { a: n, b: n })));
  assert.deepEqual(answers.map((answer) => answer.body), [{ sum: 2 }, { sum: 4 }, { sum: 6 }]);
  await client.close();
  await server.close();
});

scenario('a missing queue is an error with code and text', async (connection) => {
  const error = await failure(connection.queueDeclare({ queue: name('missing'), passive: true }));
  assert.equal(error.code, 'NOT_FOUND');
  assert.ok(error.message.includes(`no queue '${name('missing')}' in vhost '/'`), error.message);
});

scenario('a transaction is all or nothing', async (connection) => {
  const channel = await connection.acquire();
  const { queue } = await channel.queueDeclare({ exclusive: true });
  await channel.txSelect();
  await channel.basicPublish(queue, 'forgotten');
  await channel.txRollback();
  await channel.basicPublish(queue, 'kept');
  await channel.txCommit();
  assert.equal((await channel.basicGet({ queue, noAck: true })).body, 'kept');
  assert.equal(await channel.basicGet({ queue, noAck: true }), undefined);
  await channel.close();
});

scenario('a consumer comes back after a lost connection', async (connection) => {
  const queue = name('survivor');
  const inbox = new Inbox();
  const consumer = connection.createConsumer({ queue, queueOptions: { durable: true }, noAck: true }, inbox.put);
  await soon(once(consumer, 'ready'), 'the consumer');
  const back = once(consumer, 'ready');
  // The client has no public way to lose its connection.
  connection._socket.destroy();
  await soon(back, 'the consumer after the loss');
  const publisher = connection.createPublisher({ confirm: true });
  await publisher.send(queue, 'again');
  assert.equal((await inbox.take('the message')).body, 'again');
  await publisher.close();
  await consumer.close();
  await connection.queueDelete(queue);
});

async function open() {
  const connection = new Connection({ url: URL, connectionName: 'rabbitmq-client smoke test', retryLow: 50 });
  // Lost connections are reported here too; what must not fail is awaited by the scenarios.
  connection.on('error', () => {});
  await connection.onConnect();
  return connection;
}

run(open, (connection) => connection.close());
