// Runs the scenarios of one client: prints PASS or FAIL for each and ends with 1 if one failed.
//
// AMQP_URL says where the broker is, NAMES what the names of queues and exchanges begin with, so that runs do not meet.

import assert from 'node:assert/strict';

export const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@127.0.0.1:5672/%2F';
const NAMES = process.env.NAMES ?? `smoke-${process.pid}`;

// How long a scenario waits for something that must happen; only a broken broker needs all of it.
const DEADLINE_MS = 30_000;

const scenarios = [];

export function scenario(words, run) {
  scenarios.push({ words, run });
}

// A name for a queue or an exchange.
export function name(base) {
  return `${NAMES}.${base}`;
}

// The value of a promise, unless the deadline comes first.
export async function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${DEADLINE_MS} ms`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Collects what a callback receives, for a test that awaits it.
export class Inbox {
  #items = [];
  #waiting = [];

  put = (item) => {
    const next = this.#waiting.shift();
    if (next) next(item);
    else this.#items.push(item);
  };

  get size() {
    return this.#items.length;
  }

  take(what) {
    const item = this.#items.shift();
    return item === undefined ? soon(new Promise((resolve) => this.#waiting.push(resolve)), what) : item;
  }
}

// The error a promise is rejected with.
export async function failure(promise) {
  try {
    await soon(promise, 'a failure');
  } catch (error) {
    return error;
  }
  assert.fail('nothing failed');
}

// Runs all scenarios, each with a connection of its own from `open`, closed by `close`.
export async function run(open, close) {
  let failed = 0;
  for (const { words, run } of scenarios) {
    try {
      const connection = await soon(open(), 'connecting');
      await soon(run(connection), words);
      await soon(close(connection), 'closing');
      console.log(`PASS ${words}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${words}`);
      console.error(error);
    }
  }
  console.log(`${scenarios.length - failed} passed, ${failed} failed`);
  // Connections of failed scenarios may still be open.
  process.exit(failed ? 1 : 0);
}
