// graphql-ws: everything over one WebSocket.

import assert from 'node:assert/strict';
import test from 'node:test';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { backUp, data } from './scenario.mjs';
import { url } from './server.mjs';

const connect = (options) => createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, ...options });

test('graphql-ws backs up', async () => {
  const client = connect({ lazy: false });
  const subscribe = async function* (query, variables) {
    for await (const answer of client.iterate({ query, variables })) yield data(answer);
  };
  const execute = async (query, variables) => (await subscribe(query, variables).next()).value;
  await backUp('graphql-ws', { execute, subscribe });
  await client.dispose();
});

test('graphql-ws is told what is wrong', async () => {
  const client = connect();
  const wrong = async () => (await client.iterate({ query: '{ colour }' }).next()).value;
  await assert.rejects(wrong, (errors) => errors[0].extensions.code === 'GRAPHQL_VALIDATION_FAILED');
  await client.dispose();
});

test('graphql-ws pings, and is answered', async () => {
  let client;
  await new Promise((resolve) => {
    client = connect({ lazy: false, keepAlive: 20, on: { pong: (received) => received && resolve() } });
  });
  await client.dispose();
});

test('graphql-ws is refused a namespace that is none', async () => {
  const client = connect({ connectionParams: { namespace: 'No Such' } });
  const read = async () => (await client.iterate({ query: '{ actions { name } }' }).next()).value;
  await assert.rejects(read, (close) => close.code === 4403 && close.reason.startsWith('Forbidden: NAMESPACE'));
});
