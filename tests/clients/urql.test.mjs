// urql: everything by fetch, subscriptions as events; it reads by GET where it likes.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Client, fetchExchange, gql } from 'urql';
import { backUp, data, iterate } from './scenario.mjs';
import { url } from './server.mjs';

for (const preferGetMethod of [false, true]) {
  const by = preferGetMethod ? 'get' : 'post';
  const client = new Client({
    url,
    preferGetMethod,
    exchanges: [fetchExchange],
    fetchSubscriptions: true,
    requestPolicy: 'network-only',
  });

  test(`urql backs up, and reads by ${by}`, async () => {
    const execute = async (text, variables) => {
      const document = gql(text);
      const isRead = document.definitions[0].operation === 'query';
      return data(await (isRead ? client.query(document, variables) : client.mutation(document, variables)).toPromise());
    };
    const subscribe = async function* (text, variables) {
      const iterator = iterate((sink) => {
        const subscription = client.subscription(gql(text), variables).subscribe((answer) => sink.next(answer));
        return () => subscription.unsubscribe();
      });
      for await (const answer of iterator) yield data(answer);
    };
    await backUp(`urql-${by}`, { execute, subscribe });
  });

  test(`urql is told what is wrong, and reads by ${by}`, async () => {
    const { error } = await client.query(gql('{ colour }'), {}).toPromise();
    assert.equal(error.graphQLErrors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
  });
}
