// Apollo Client: HTTP for one answer, its link of graphql-ws for many.

import assert from 'node:assert/strict';
import test from 'node:test';
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { OperationTypeNode } from 'graphql';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { backUp, data, iterate } from './scenario.mjs';
import { url } from './server.mjs';

const socket = createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0 });
const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(socket),
    new HttpLink({ uri: url }),
  ),
  defaultOptions: { query: { fetchPolicy: 'no-cache' }, mutate: { fetchPolicy: 'no-cache' } },
});

test.after(() => socket.dispose());

const plain = (value) => JSON.parse(JSON.stringify(value, (key, inner) => (key === '__typename' ? undefined : inner)));

test('Apollo Client backs up', async () => {
  const execute = async (text, variables) => {
    const document = gql(text);
    const isRead = document.definitions[0].operation === 'query';
    const answer = isRead ? client.query({ query: document, variables }) : client.mutate({ mutation: document, variables });
    return plain(data(await answer));
  };
  const subscribe = async function* (text, variables) {
    const answers = client.subscribe({ query: gql(text), variables, fetchPolicy: 'no-cache' });
    const iterator = iterate((sink) => {
      const subscription = answers.subscribe(sink);
      return () => subscription.unsubscribe();
    });
    for await (const answer of iterator) yield plain(data(answer));
  };
  await backUp('apollo', { execute, subscribe });
});

test('Apollo Client is told what is wrong', async () => {
  const wrong = client.query({ query: gql('{ colour }') });
  await assert.rejects(wrong, (error) => {
    assert.ok(CombinedGraphQLErrors.is(error), error);
    return error.errors[0].extensions.code === 'GRAPHQL_VALIDATION_FAILED';
  });
});
