// A server that is stopped tells every WebSocket so, before its process ends.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test from 'node:test';
import WebSocket from 'ws';

test('all are told that the server stops', async () => {
  const listen = ['--listen', '127.0.0.1:0', '--cluster-listen', '127.0.0.1:0'];
  const server = spawn(process.env.OCHRE_BINARY, ['--log', 'error', 'sandbox', ...listen], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = await once(createInterface(server.stdout), 'line');
  const sockets = Array.from({ length: 200 }, () => new WebSocket(JSON.parse(line).graphql, 'graphql-transport-ws'));
  await Promise.all(
    sockets.map(async (socket) => {
      await once(socket, 'open');
      socket.send(JSON.stringify({ type: 'connection_init' }));
      await once(socket, 'message');
    }),
  );
  const closed = Promise.all(sockets.map((socket) => once(socket, 'close')));
  const ended = once(server, 'exit');
  server.kill('SIGTERM');
  assert.deepEqual(new Set((await closed).map(([code]) => code)), new Set([1001]));
  assert.deepEqual(await ended, [0, null]);
});
