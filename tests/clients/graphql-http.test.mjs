// The audits of the GraphQL over HTTP specification: every one of them is met, the optional ones too.

import assert from 'node:assert/strict';
import test from 'node:test';
import { serverAudits } from 'graphql-http';
import { url } from './server.mjs';

const audits = serverAudits({ url });

test('the audits are all there', () => assert.equal(audits.length, 61));

for (const audit of audits) {
  test(`${audit.id} ${audit.name}`, async () => {
    const result = await audit.fn();
    assert.equal(result.status, 'ok', result.reason);
  });
}
