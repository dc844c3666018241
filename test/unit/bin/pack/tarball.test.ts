import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type PackageFile, type PackageFiles, tarball } from '../../../../bin/pack/tarball.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flowops-tarball-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function unpack(files: PackageFiles): void {
  writeFileSync(join(folder, 'made.tgz'), tarball(files));
  execFileSync('tar', ['-xzf', 'made.tgz'], { cwd: folder });
}

const files = (...entries: [string, PackageFile][]): PackageFiles => new Map(entries);

describe('a packed file', () => {
  it('gives back every file below package/, whatever its length', () => {
    const block = 'x'.repeat(512);
    unpack(files(['empty', { content: '' }], ['a/block.js', { content: block }], ['umlaut.md', { content: 'Größe' }]));
    expect(readFileSync(join(folder, 'package', 'empty'), 'utf8')).toBe('');
    expect(readFileSync(join(folder, 'package', 'a', 'block.js'), 'utf8')).toBe(block);
    expect(readFileSync(join(folder, 'package', 'umlaut.md'), 'utf8')).toBe('Größe');
  });

  it('lets a program be started and nothing else', () => {
    unpack(files(['bin/start', { content: 'exit 0', isProgram: true }], ['module.js', { content: '' }]));
    expect(statSync(join(folder, 'package', 'bin', 'start')).mode & 0o777).toBe(0o755);
    expect(statSync(join(folder, 'package', 'module.js')).mode & 0o777).toBe(0o644);
  });

  it('holds paths of up to 255 bytes', () => {
    const long = `${'folder/'.repeat(20)}${'n'.repeat(95)}.js`;
    unpack(files([long, { content: 'here' }]));
    expect(readFileSync(join(folder, 'package', long), 'utf8')).toBe('here');
    expect(() => tarball(files([`${'f'.repeat(170)}/${'n'.repeat(90)}`, { content: '' }]))).toThrow('too long');
    expect(() => tarball(files(['n'.repeat(120), { content: '' }]))).toThrow('too long');
  });

  it('is the same for the same files in any order', () => {
    const a: [string, PackageFile] = ['a.js', { content: 'a' }];
    const b: [string, PackageFile] = ['b.js', { content: Buffer.from('b') }];
    expect(tarball(files(a, b)).equals(tarball(files(b, a)))).toBe(true);
    expect(tarball(files(a, b)).equals(tarball(files(a)))).toBe(false);
  });
});
