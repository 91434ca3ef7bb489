// Loads the gateway and what it is compared with, in turn, and prints what came of it as one line of JSON.
// The input, JSON on standard input: {graphql, api: {url, ca, cert, key}, path, names,
// runs, seconds, connections, subscribers, creates}; with `creates` nothing else is measured, and nobody works on what is made.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http, { createServer } from 'node:http';
import https from 'node:https';
import { promisify } from 'node:util';
import autocannon from 'autocannon';
import { createSchema, createYoga } from 'graphql-yoga';
import WebSocket from 'ws';

const input = JSON.parse(readFileSync(0, 'utf8'));
const { graphql, api, path, names, runs, seconds, connections, subscribers, creates: onlyCreates } = input;
const ACTION = 'name status { phase message }';
const ONE = `query($name: String!) { action(name: $name) { ${ACTION} } }`;
const HUNDRED = `{ actionsConnection(first: 100, orderBy: NAME) { edges { node { ${ACTION} } } } }`;
const CREATE = 'mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }';
const CREATING = 'creating an Action';
const SPEC = { actionRef: { path: 'cap.interface.data.backup' } };
const PARAMETERS = { action: 'backup', name: 'never' };

let made = 0;
const json = { 'content-type': 'application/json' };
const tls = { ca: api.ca, cert: api.cert, key: api.key };
const posts = (query, variables) => () => ({
  method: 'POST',
  path: '/graphql',
  headers: { ...json, namespace: 'bench' },
  body: JSON.stringify({ query, variables: variables?.() }),
});
const gets = (suffix) => () => ({ method: 'GET', path: `${path}${suffix()}` });
const any = () => names[Math.floor(Math.random() * names.length)];

async function loaded(url, request, options = {}) {
  const result = await autocannon({
    url: new URL(url).origin,
    connections,
    duration: seconds,
    tlsOptions: tls,
    requests: [{ setupRequest: (before) => ({ ...before, ...request() }) }],
    ...options,
  });
  const failed = result.non2xx + result.errors + result.timeouts;
  if (failed) throw new Error(`${failed} requests to ${url} failed`);
  return { rate: result.requests.total / result.duration, p99: result.latency.p99 };
}

// Asks the gateway so many times a second, at an even pace; each is measured from when it is sent.
async function paced(request, rate) {
  const { path, headers, body } = request();
  const flags = ['-quiet', '-uniform', '-json', '-', '-c', connections, '-t', `${seconds}s`, '-qps', rate, '-p', '50,99'];
  const named = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}:${value}`]);
  const url = new URL(path, graphql).href;
  const { stdout } = await promisify(execFile)('./fortio', ['load', ...flags, ...named, '-payload', body, url]);
  const { ActualQPS, RetCodes, DurationHistogram: { Percentiles } } = JSON.parse(stdout);
  if (Object.keys(RetCodes).join() !== '200') throw new Error(`answers at a pace: ${JSON.stringify(RetCodes)}`);
  const [p50, p99] = Percentiles.map(({ Value }) => Value * 1e3);
  return { rate: ActualQPS, p50, p99 };
}

// Waits until the engine has nothing left to do of what was measured before.
async function idle() {
  const waiting = 'filter: { phase: INITIAL }) { totalCount }';
  const rendered = 'filter: { phase: BEING_RENDERED }) { totalCount }';
  const body = JSON.stringify({ query: `{ a: actionsConnection(${waiting} b: actionsConnection(${rendered} }` });
  for (;;) {
    const answer = await fetch(graphql, { method: 'POST', headers: { ...json, namespace: 'bench' }, body });
    const { a, b } = (await answer.json()).data;
    if (a.totalCount + b.totalCount === 0) return;
    await new Promise((done) => setTimeout(done, 100));
  }
}

// A server of others that answers with an object that it holds, of the same shape.
async function yoga() {
  const action = (name) => ({ name, status: { phase: 'SUCCEEDED', message: 'x'.repeat(120) } });
  const page = { edges: names.slice(0, 100).map((name) => ({ node: action(name) })) };
  const server = createServer(
    createYoga({
      logging: false,
      schema: createSchema({
        typeDefs: `
          type Status { phase: String! message: String }
          type Action { name: String! status: Status }
          type Edge { node: Action! }
          type Page { edges: [Edge!]! }
          enum Order { NAME }
          type Query { action(name: String!): Action actionsConnection(first: Int, orderBy: Order): Page }`,
        resolvers: { Query: { action: (_, { name }) => action(name), actionsConnection: () => page } },
      }),
    }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function delivered() {
  console.error(`==> ${subscribers} subscribers`);
  await idle();
  const sockets = await Promise.all(
    Array.from({ length: subscribers }, async () => {
      const socket = new WebSocket(graphql.replace('http', 'ws'), 'graphql-transport-ws', { headers: { namespace: 'bench' } });
      await once(socket, 'open');
      socket.send(JSON.stringify({ type: 'connection_init' }));
      await once(socket, 'message');
      const query = `subscription { actionChanged(name: "${names[0]}") { ${ACTION} } }`;
      socket.send(JSON.stringify({ type: 'subscribe', id: '1', payload: { query } }));
      await once(socket, 'message');
      return socket;
    }),
  );
  const waits = [];
  for (let change = 0; change < runs * 5; change += 1) {
    const heard = sockets.map((socket) => once(socket, 'message').then(() => performance.now()));
    const at = await changed(change);
    for (const when of await Promise.all(heard)) waits.push(Math.max(0, when - at));
  }
  for (const socket of sockets) socket.terminate();
  waits.sort((one, other) => one - other);
  return { p50: waits[Math.floor(waits.length * 0.5)], p99: waits[Math.floor(waits.length * 0.99)] };
}

// Changes an Action; yields when that was asked for.
async function changed(change) {
  const at = performance.now();
  const { request: ask } = api.url.startsWith('https:') ? https : http;
  const request = ask(`${api.url}${path}/${names[0]}`, {
    ...tls,
    method: 'PATCH',
    headers: { 'content-type': 'application/merge-patch+json' },
  });
  request.end(JSON.stringify({ metadata: { labels: { change: `${change}` } } }));
  const [answer] = await once(request, 'response');
  if (answer.statusCode !== 200) throw new Error(`the change was answered with ${answer.statusCode}`);
  answer.resume();
  return at;
}

const server = await yoga();
const others = `http://127.0.0.1:${server.address().port}`;
const creates = { connections: 20 };
const named = (prefix) => `${prefix}-${process.pid}-${(made += 1)}`;
const one = posts(ONE, () => ({ name: any() }));
const hundred = posts(HUNDRED);
// Of what is measured, by whom; each is told what was measured before.
const asked = {
  'one Action': [
    ['ochre', () => loaded(graphql, one)],
    ['api', () => loaded(api.url, gets(() => `/${any()}`))],
    ['yoga', () => loaded(others, one)],
    ['paced', ({ api }) => paced(one, 10 * api.at(-1).rate)],
  ],
  'a hundred Actions': [
    ['ochre', () => loaded(graphql, hundred)],
    ['api', () => loaded(api.url, gets(() => '?limit=100'))],
    ['yoga', () => loaded(others, hundred)],
    ['paced', ({ api }) => paced(hundred, 10 * api.at(-1).rate)],
  ],
  [CREATING]: [
    [
      'ochre',
      () =>
        loaded(
          graphql,
          posts(CREATE, () => ({ in: { name: named('made'), ...SPEC, input: { parameters: PARAMETERS } } })),
          creates,
        ),
    ],
    [
      'api',
      () =>
        loaded(
          api.url,
          () => ({
            method: 'POST',
            path,
            // A copy, since the load generator adds the length of the body.
            headers: { ...json },
            body: JSON.stringify({
              apiVersion: 'core.ochre.dev/v1alpha1',
              kind: 'Action',
              metadata: { name: named('raw') },
              spec: { ...SPEC, input: { parameters: PARAMETERS } },
            }),
          }),
          creates,
        ),
    ],
  ],
};

const results = {};
for (let run = 0; run < runs; run += 1) {
  for (const [what, sides] of Object.entries(asked)) {
    if (onlyCreates && what !== CREATING) continue;
    const measured = (results[what] ??= {});
    for (const [side, measure] of sides) {
      if (!onlyCreates) await idle();
      console.error(`==> ${what}, ${side}, ${run + 1} of ${runs}`);
      (measured[side] ??= []).push(await measure(measured));
    }
  }
}
const delivery = onlyCreates ? null : await delivered();
server.close();
console.log(JSON.stringify({ results, delivery }));
process.exit(0);
