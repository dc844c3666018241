/** The pages lead where they say: every link to a file of the project, and to a heading in it. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { projectFiles, ROOT, readProjectFile } from './project-files.ts';

const PAGES = projectFiles().filter((file) => file.endsWith('.md'));

it('every link of a page to another leads somewhere', () => {
  const links = PAGES.flatMap((page) => linksOf(page).map((link) => ({ page, ...link })));
  expect(links.length).toBeGreaterThan(50);
  expect(links.filter(({ page, target, anchor }) => !leadsSomewhere(page, target, anchor))).toEqual([]);
});

it('every page of the documentation is reached from README.md', () => {
  const readme = new Set(linksOf('README.md').map(({ target }) => target));
  const pages = PAGES.filter((page) => page.startsWith('docs/'));
  expect(pages.filter((page) => !readme.has(page))).toEqual([]);
});

function linksOf(page: string): { readonly target: string; readonly anchor: string }[] {
  const text = readProjectFile(page)
    .replace(/^\s*```.*?^\s*```/gms, '')
    .replace(/`[^`\n]*`/g, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [target = '', anchor = ''] = link.split('#');
      return { target, anchor };
    });
}

function leadsSomewhere(page: string, target: string, anchor: string): boolean {
  const file = target === '' ? page : path.posix.join(path.posix.dirname(page), target);
  if (!existsSync(path.join(ROOT, file))) return false;
  if (anchor === '') return true;
  return statSync(path.join(ROOT, file)).isFile() && anchorsOf(file).includes(anchor);
}

/** As GitHub makes them of headings. */
function anchorsOf(page: string): string[] {
  return [...readProjectFile(page).matchAll(/^#+\s+(.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  );
}
