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
  plugins: [withoutFonts, compressed],
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
