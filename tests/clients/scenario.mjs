// What every client does: it reads, follows an Action that is not there yet, creates it, and sees it SUCCEEDED.

import assert from 'node:assert/strict';

const READ = 'query Read($name: String!) { action(name: $name) { name status { phase } } }';

const CREATE = 'mutation Create($in: ActionDetailsInput) { createAction(in: $in) { name } }';

const FOLLOW = 'subscription Follow($name: String!) { actionChanged(name: $name) { status { phase message } } }';

// Both take a document and its variables: `execute` yields the data, `subscribe` an iterator over it.
export async function backUp(name, { execute, subscribe }) {
  assert.deepEqual(await execute(READ, { name }), { action: null });
  const phases = [];
  for await (const { actionChanged: action } of subscribe(FOLLOW, { name })) {
    if (phases.length === 0) {
      assert.equal(action, null);
      phases.push(null);
      const parameters = { action: 'backup', name, selector: 'helm.sh/chart=mongodb-10.3.1' };
      const created = { name, run: true, actionRef: { path: 'cap.interface.data.backup' }, input: { parameters } };
      assert.equal((await execute(CREATE, { in: created })).createAction.name, name);
      continue;
    }
    phases.push(action.status.phase);
    if (['SUCCEEDED', 'FAILED', 'CANCELED'].includes(action.status.phase)) {
      assert.equal(action.status.phase, 'SUCCEEDED', action.status.message);
      break;
    }
  }
  assert.ok(phases.includes('RUNNING'), phases.join());
  assert.equal((await execute(READ, { name })).action.status.phase, 'SUCCEEDED');
}

// Makes an iterator of a source that calls back.
export function iterate(start) {
  const events = [];
  let wake = () => {};
  const put = (event) => (events.push(event), wake());
  const stop = start({
    next: (value) => put({ value }),
    error: (error) => put({ error }),
    complete: () => put({ done: true }),
  });
  async function* iterator() {
    try {
      for (;;) {
        while (events.length === 0) await new Promise((resolve) => (wake = resolve));
        const { value, error, done } = events.shift();
        if (error) throw error;
        if (done) return;
        yield value;
      }
    } finally {
      stop();
    }
  }
  return iterator();
}

// Takes the data of an answer that has no errors.
export function data(answer) {
  assert.equal(answer.errors ?? answer.error, undefined);
  return answer.data;
}
