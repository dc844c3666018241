import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { usualSocket } from '../../../../sandbox/container/usual-socket.ts';

const home = mkdtempSync(path.join(tmpdir(), 'flowops-home-'));
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

describe.runIf(process.platform !== 'win32')('where Docker usually listens', () => {
  it("is the user's own socket where there is one, else the system's", () => {
    vi.stubEnv('HOME', home);
    expect(usualSocket()).toBe('/var/run/docker.sock');
    const own = path.join(home, '.docker', 'run', 'docker.sock');
    mkdirSync(path.dirname(own), { recursive: true });
    writeFileSync(own, '');
    expect(usualSocket()).toBe(own);
  });
});
