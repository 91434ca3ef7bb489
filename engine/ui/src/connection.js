// How the page asks the server, for one caller: reads and mutations by HTTP, subscriptions by WebSocket.

import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { createClient } from 'graphql-ws';

const URL = `${location.origin}/graphql`;

export function connect({ namespace, token }) {
  const headers = token ? { namespace, authorization: `Bearer ${token}` } : { namespace };
  // Browsers let no page set headers on a WebSocket; the server takes them from `connection_init`.
  const sockets = createClient({ url: URL.replace(/^http/, 'ws'), connectionParams: headers });
  return {
    fetcher: createGraphiQLFetcher({ url: URL, headers, wsClient: sockets, enableIncrementalDelivery: false }),
    ask: (query) => ask(query, headers),
    close: () => sockets.dispose(),
  };
}

async function ask(query, headers) {
  const body = JSON.stringify({ query });
  const answer = await fetch(URL, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(errors.map(({ message }) => message).join('; '));
  return data;
}
