// The playground of the real binary: it loads, runs the catalog's actions, and shows what becomes of them.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import test from 'node:test';
import { Playground } from './playground.mjs';
import { person, start } from './server.mjs';

for (const scheme of ['light', 'dark']) {
  test(`a backup is run from the page and seen to succeed, ${scheme}`, async (t) => {
    // Slow enough that a person, and this test, sees it run.
    const { playground: url } = await start(t, '--velero-step-delay', '1s');
    const page = await Playground.open(t, url, scheme);
    const { 'content-security-policy': policy } = page.answer.headers();
    assert.match(policy, /^default-src 'self';/);
    assert.doesNotMatch(policy, /unsafe|http|\*/);
    assert.equal(await page.page.title(), 'ochre');
    await page.tab('CreateMongoDBBackup').waitFor();
    await page.isAccessible('at the start');

    assert.equal((await page.execute('CreateMongoDBBackup')).name, 'backup-mongo');
    await page.execute('Run');
    await page.choose('Follow');
    await page.result.getByText('"SUCCEEDED"').first().waitFor();
    const changes = page.received.filter(({ type }) => type === 'next').map(({ payload }) => payload.data.actionChanged);
    const phases = changes.map(({ status }) => status.phase);
    assert.ok(phases.includes('RUNNING') && phases.at(-1) === 'SUCCEEDED', phases.join());
    await page.isAccessible('with a result');

    await page.page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
    await page.page.getByText('A GraphQL schema provides a root type').waitFor();
    await page.isAccessible('with the documentation');

    await page.tab('RestoreMongoDBBackup').click();
    assert.equal((await page.execute('RestoreMongoDBBackup')).name, 'restore-mongo');
    page.isContent(url);
  });
}

test('a token and a namespace reach the server, and nobody else', async (t) => {
  const { playground: url, cluster } = await start(t, '--authentication', 'token');
  const token = await person(cluster, 'alice', [{ apiGroups: ['core.ochre.dev'], resources: ['actions'], verbs: ['*'] }]);
  const page = await Playground.open(t, url);
  await page.page.getByRole('alert').getByText('it must be known who asks').waitFor();
  await page.isAccessible('without a token');
  assert.equal(page.errors.length, 1, 'the browser itself reports a 401');
  page.errors = [];

  await page.page.getByLabel('Namespace').fill('chat');
  await page.page.getByLabel('Token').fill(token);
  // The editor comes after the tabs, which wait for it.
  let goOn;
  const isSlow = new Promise((resolve) => (goOn = resolve));
  await page.page.route('**/assets/codemirror-*.js', (route) => isSlow.then(() => route.continue()));
  await page.page.getByRole('button', { name: 'Connect' }).click();
  const tabs = page.page.locator('.graphiql-tabs');
  await tabs.waitFor({ state: 'attached' });
  assert.equal(await tabs.isVisible(), false);
  goOn();
  await page.tab('Actions').click();
  assert.deepEqual(await page.execute('Actions'), []);
  await page.choose('FollowAll');
  await page.result.getByText('"actionsChanged"').waitFor();
  const begun = page.sent.find(({ type }) => type === 'connection_init');
  assert.deepEqual(begun.payload, { namespace: 'chat', authorization: `Bearer ${token}` });
  assert.deepEqual(page.received.filter(({ type }) => type === 'next').map(({ payload }) => payload), [
    { data: { actionsChanged: [] } },
  ]);
  // What is kept is written a moment later.
  await page.page.waitForFunction(() => sessionStorage.getItem('graphiql:tabState')?.includes('FollowAll'));
  const kept = await page.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.ok(!kept.includes(token), kept);
  page.isContent(url);
});

test('the tabs are those of the catalog', async (t) => {
  const content = fileURLToPath(new URL('content', import.meta.url));
  const { playground: url } = await start(t, '--content', content);
  const page = await Playground.open(t, url);
  const created = await page.execute('Create_save_all');
  const parameters = JSON.parse(created.input.parameters['input-parameters']);
  assert.deepEqual(parameters, { namespace: 'chat', labels: { 'example.com/team': 'chat' } });
  assert.deepEqual(await page.tabs(), ['Create_save_all', 'Actions']);
  await page.execute('Run');
  await page.choose('Follow');
  await page.result.getByText('"SUCCEEDED"').first().waitFor();
  page.isContent(url);
});
