// amqplib, the client most Node programs use.

import assert from 'node:assert/strict';
import amqp from 'amqplib';
import { Inbox, URL, failure, name, run, scenario, soon } from './smoke.js';

const text = (message) => message.content.toString();

scenario('a confirmed message arrives with its properties', async (connection) => {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue(name('properties'), { durable: true });
  const sent = {
    persistent: true,
    contentType: 'text/plain',
    headers: { text: 'value', number: 42, yes: true, table: { list: [1, 'two'] } },
    priority: 5,
    correlationId: '7',
    replyTo: 'somewhere',
    messageId: 'm1',
    timestamp: 1_700_000_000,
    type: 'kind',
    appId: 'smoke',
  };
  channel.sendToQueue(queue, Buffer.from('body'), sent);
  await channel.waitForConfirms();
  const message = await channel.get(queue);
  channel.ack(message);
  assert.equal(text(message), 'body');
  const { persistent, ...same } = sent;
  for (const [field, value] of Object.entries(same)) {
    assert.deepEqual(message.properties[field], value, field);
  }
  assert.equal(message.properties.deliveryMode, persistent ? 2 : 1);
  assert.equal(await channel.get(queue), false);
  await channel.deleteQueue(queue);
});

scenario('a thousand confirms arrive', async (connection) => {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (let n = 0; n < 1000; n += 1) channel.sendToQueue(queue, Buffer.from(String(n)));
  await channel.waitForConfirms();
  assert.equal((await channel.checkQueue(queue)).messageCount, 1000);
  assert.equal((await channel.purgeQueue(queue)).messageCount, 1000);
});

scenario('a large body is split and joined', async (connection) => {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const body = Buffer.alloc(1024 * 1024, 'warren ');
  const inbox = new Inbox();
  await channel.consume(queue, inbox.put, { noAck: true });
  channel.sendToQueue(queue, body);
  assert.ok(body.equals((await inbox.take('the message')).content));
});

scenario('an unroutable mandatory message comes back before its confirm', async (connection) => {
  const channel = await connection.createConfirmChannel();
  const events = [];
  channel.on('return', (message) => events.push([message.fields.replyCode, message.fields.replyText, text(message)]));
  const confirmed = new Promise((resolve, reject) => {
    channel.publish('', name('nowhere'), Buffer.from('lost'), { mandatory: true }, (error) =>
      error ? reject(error) : resolve(events.push('confirmed')),
    );
  });
  await soon(confirmed, 'the confirm');
  assert.deepEqual(events, [[312, 'NO_ROUTE', 'lost'], 'confirmed']);
});

scenario('messages are acknowledged, requeued and dropped', async (connection) => {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
  const inbox = new Inbox();
  await channel.consume(queue, inbox.put);
  const [one, two, three] = [await inbox.take('1'), await inbox.take('2'), await inbox.take('3')];
  channel.ack(one);
  channel.reject(three, false);
  channel.nack(two, false, true);
  const again = await inbox.take('2 again');
  assert.deepEqual([text(again), again.fields.redelivered], ['2', true]);
  channel.ack(again);
  assert.equal((await channel.checkQueue(queue)).messageCount, 0);
  assert.equal(inbox.size, 0);
});

scenario('prefetch limits what is unacknowledged, per consumer and per channel', async (connection) => {
  for (const global of [false, true]) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
    await channel.prefetch(2, global);
    const inbox = new Inbox();
    await channel.consume(queue, inbox.put);
    const first = await inbox.take('1');
    await inbox.take('2');
    assert.equal((await channel.checkQueue(queue)).messageCount, 1);
    assert.equal(inbox.size, 0);
    channel.ack(first);
    assert.equal(text(await inbox.take('3')), '3');
    await channel.close();
  }
});

scenario('a topic exchange routes by pattern', async (connection) => {
  const channel = await connection.createChannel();
  const { exchange } = await channel.assertExchange(name('topic'), 'topic', { durable: false, autoDelete: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchange, 'old.*');
  for (const key of ['old.boy.python', 'old', 'old.boy']) channel.publish(exchange, key, Buffer.from(key));
  assert.equal(text(await channel.get(queue, { noAck: true })), 'old.boy');
  assert.equal(await channel.get(queue), false);
});

scenario('a consumer is told when its queue is deleted', async (connection) => {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue(name('cancelled'), { durable: true });
  const inbox = new Inbox();
  await channel.consume(queue, inbox.put);
  await channel.deleteQueue(queue);
  assert.equal(await inbox.take('the cancellation'), null);
});

scenario('an exclusive queue is locked for other connections', async (connection) => {
  const owner = await amqp.connect(URL);
  const { queue } = await (await owner.createChannel()).assertQueue('', { exclusive: true });
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  const error = await failure(channel.checkQueue(queue));
  assert.equal(error.code, 405);
  assert.match(error.message, /RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/);
  await owner.close();
});

scenario('a missing queue closes only the channel', async (connection) => {
  const [channel, other] = [await connection.createChannel(), await connection.createChannel()];
  channel.on('error', () => {});
  const error = await failure(channel.checkQueue(name('missing')));
  assert.equal(error.code, 404);
  assert.ok(error.message.includes(`NOT_FOUND - no queue '${name('missing')}' in vhost '/'`), error.message);
  await other.assertQueue('', { exclusive: true });
});

scenario('an unknown delivery tag closes only the channel', async (connection) => {
  const [channel, other] = [await connection.createChannel(), await connection.createChannel()];
  const inbox = new Inbox();
  channel.on('error', inbox.put);
  channel.ack({ fields: { deliveryTag: 99 } });
  const error = await inbox.take('the error');
  assert.equal(error.code, 406);
  assert.ok(error.message.includes('PRECONDITION_FAILED - unknown delivery tag 99'), error.message);
  await other.assertQueue('', { exclusive: true });
});

scenario('a secret can be updated', async (connection) => {
  await connection.updateSecret(Buffer.from('guest'), 'a test');
});

run(
  () => amqp.connect(URL, { clientProperties: { connection_name: 'amqplib smoke test' } }),
  (connection) => connection.close(),
);
