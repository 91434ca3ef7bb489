import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

// GraphiQL's style sheet carries its fonts, which are three quarters of it; the system has some too.
const withoutFonts = {
  name: 'without-fonts',
  enforce: 'pre',
  transform: (code, id) => (id.endsWith('.css') ? code.replace(/@font-face\s*\{[^}]*\}/g, '') : null),
};

// Whoever passes on what the page is made of passes on its licences too.
const licences = {
  name: 'licences',
  async generateBundle() {
    const folder = (id) => id.match(/^\0?(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//)?.[1];
    const folders = new Set([...this.getModuleIds()].map(folder).filter(Boolean));
    const notices = await Promise.all([...folders].map(notice));
    this.emitFile({ type: 'asset', fileName: 'licences.txt', source: notices.sort().join(`\n${'-'.repeat(80)}\n\n`) });
  },
};

async function notice(folder) {
  const { name, version, license, repository } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
  const texts = await Promise.all(files.sort().map((file) => readFile(join(folder, file), 'utf8')));
  // Some have none in their package.
  const text = texts.join('\n') || `${repository?.url ?? repository}\n`;
  return `${name} ${version} (${license})\n\n${text}`;
}

// The server sends files as they are, so each is there in every form that a browser takes.
const compressed = {
  name: 'compressed',
  async writeBundle({ dir }) {
    const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };
    for (const file of await readdir(dir, { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const path = join(file.parentPath, file.name);
      const content = await readFile(path);
      await writeFile(`${path}.br`, await promisify(brotliCompress)(content, quality));
      await writeFile(`${path}.gz`, await promisify(gzip)(content, { level: 9 }));
    }
  },
};

export default {
  plugins: [withoutFonts, licences, compressed],
  resolve: { alias: { 'react-remove-scroll': join(import.meta.dirname, 'src/no-scroll-lock.js') } },
  esbuild: { jsx: 'automatic' },
  build: {
    // No piece is worth a request of its own on loopback, and no asset a place in the page.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    modulePreload: { polyfill: false },
    target: 'es2022',
  },
};
