// What clients were promised is kept: promised.graphql may only be renewed with a release that says so.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { buildSchema, findBreakingChanges } from 'graphql';

const promised = readFileSync(new URL('promised.graphql', import.meta.url), 'utf8');

test('the schema breaks no promise', () => {
  const served = execFileSync(process.env.OCHRE_BINARY, ['schema'], { encoding: 'utf8' });
  assert.deepEqual(findBreakingChanges(buildSchema(promised), buildSchema(served)), []);
});

test('a broken promise would be seen', () => {
  const broken = promised.replace('phase: ActionStatusPhase!', 'stage: ActionStatusPhase!');
  assert.notEqual(broken, promised);
  const found = findBreakingChanges(buildSchema(promised), buildSchema(broken));
  assert.deepEqual(found.map((change) => change.description), ['ActionStatus.phase was removed.']);
});
