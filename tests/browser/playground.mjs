// The playground in Chromium, as a person uses it: by what they see.

import assert from 'node:assert/strict';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';

// As root and without a network; nothing of its own may be asked for.
const QUIET = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export class Playground {
  errors = [];
  origins = new Set();
  sent = [];
  received = [];

  static async open(t, url, colorScheme = 'light') {
    const executablePath = process.env.OCHRE_CHROMIUM;
    const browser = await chromium.launch({ executablePath, args: QUIET });
    t.after(() => browser.close());
    const page = await (await browser.newContext({ colorScheme })).newPage();
    page.setDefaultTimeout(30_000);
    const playground = new Playground(page);
    playground.answer = await page.goto(url);
    return playground;
  }

  constructor(page) {
    this.page = page;
    page.on('console', (message) => message.type() === 'error' && this.errors.push(message.text()));
    page.on('pageerror', (error) => this.errors.push(String(error)));
    page.on('request', (request) => this.origins.add(new URL(request.url()).origin));
    page.on('websocket', (socket) => {
      this.origins.add(new URL(socket.url()).origin.replace(/^ws/, 'http'));
      socket.on('framesent', ({ payload }) => this.sent.push(JSON.parse(payload)));
      socket.on('framereceived', ({ payload }) => this.received.push(JSON.parse(payload)));
    });
  }

  tab(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  tabs() {
    return this.page.getByRole('list', { name: 'Select active operation' }).getByRole('listitem').allInnerTexts();
  }

  get result() {
    return this.page.getByRole('region', { name: 'Result Window' });
  }

  // Chooses an operation from the menu that the button has once GraphiQL knows the schema.
  async choose(operation) {
    const button = this.page.getByRole('button', { name: /^Execute query/ });
    await button.and(this.page.locator('[aria-haspopup="menu"]')).click();
    await this.page.getByRole('menuitem', { name: operation, exact: true }).click();
  }

  // Has a mutation or query executed, and gives its answer once it is shown.
  async execute(operation) {
    const answered = this.page.waitForResponse((response) => {
      return new URL(response.url()).pathname === '/graphql' && response.request().postDataJSON().operationName === operation;
    });
    await this.choose(operation);
    const { data, errors } = await (await answered).json();
    assert.equal(errors, undefined, JSON.stringify(errors));
    const [field] = Object.keys(data);
    await this.result.getByText(`"${field}"`).waitFor();
    return data[field];
  }

  async isAccessible(what) {
    const { violations } = await new AxeBuilder({ page: this.page }).analyze();
    const grave = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    const said = grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
    assert.deepEqual(said, [], what);
  }

  // That nothing went wrong, and nothing was asked of anybody else.
  isContent(url) {
    assert.deepEqual(this.errors, []);
    this.origins.delete('null'); // of data: URLs
    assert.deepEqual([...this.origins], [new URL(url).origin]);
  }
}
