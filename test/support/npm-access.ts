/**
 * How npm reaches its registry on this machine: behind a company's proxy, or with its own authority for certificates. That
 * stands in npm's global configuration, which belongs to the Node it came with; another Node, and an account with an empty
 * home, would not find it.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { z } from 'zod';

const settingsSchema = z.object({
  registry: z.string(),
  cafile: z.string().nullable(),
  proxy: z.union([z.string(), z.literal(false)]).nullable(),
  'https-proxy': z.string().nullable(),
  noproxy: z.union([z.string(), z.array(z.string())]).nullable(),
  'strict-ssl': z.boolean(),
});

let known: Readonly<Record<string, string>> | undefined;

/** As variables of the environment, which npm takes before any file; empty where there is no npm. */
export function npmAccess(): Readonly<Record<string, string>> {
  known ??= readAccess();
  return known;
}

function readAccess(): Record<string, string> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const [node, npm] = [join(folder, 'node'), join(folder, 'npm')];
    if (folder === '' || !existsSync(node) || !existsSync(npm)) continue;
    const text = execFileSync(node, [npm, 'config', 'list', '--json'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const settings = settingsSchema.parse(JSON.parse(text));
    const given = Object.entries(settings).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(',') : value,
    ]);
    return Object.fromEntries(
      given
        .filter(([, value]) => value !== null && value !== '')
        .map(([name, value]) => [`npm_config_${String(name).replaceAll('-', '_')}`, String(value)]),
    );
  }
  return {};
}
