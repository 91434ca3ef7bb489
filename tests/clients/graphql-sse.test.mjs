// graphql-sse: each operation as a stream of events.

import assert from 'node:assert/strict';
import test from 'node:test';
import { createClient } from 'graphql-sse';
import { backUp, data } from './scenario.mjs';
import { url } from './server.mjs';

const client = createClient({ url, retryAttempts: 0 });

async function* subscribe(query, variables) {
  for await (const answer of client.iterate({ query, variables })) yield data(answer);
}

test('graphql-sse backs up', async () => {
  const execute = async (query, variables) => (await subscribe(query, variables).next()).value;
  await backUp('graphql-sse', { execute, subscribe });
});

test('graphql-sse is told what is wrong', async () => {
  const { value } = await client.iterate({ query: '{ colour }' }).next();
  assert.equal(value.errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
});
