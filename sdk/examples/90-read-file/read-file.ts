/**
 * Hostile on purpose: looks for a way to a file and would give its text as an output. It tries what escapes from other
 * sandboxes used; where none works it fails and tells what each one met.
 */
import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';

type Way = (path: string) => unknown;

/** Built from parts, so that neither the bundler nor a reader of the bundle sees the import. */
const FS = ['node', 'fs'].join(':');

const WAYS: Readonly<Record<string, Way>> = {
  process: (path) => globalThis.process.getBuiltinModule('node:fs').readFileSync(path, 'utf8'),
  require: (path) => new Function('name', 'path', 'return require(name).readFileSync(path, "utf8")')(FS, path),
  'import()': async (path) => (await import(FS)).readFileSync(path, 'utf8'),
  'constructor of a host object': (path) =>
    new Function('return this')().constructor.constructor('return process')().getBuiltinModule(FS).readFileSync(path),
};

@TaskType({ name: 'example.hostile.read-file', version: '1.0.0', description: 'Tries to read a file of the host.' })
export default class ReadFile extends BaseTask {
  @Input({ type: 'string' })
  path = '/etc/passwd';

  @Output({ type: 'string', description: 'Text of the file: never seen' })
  text = '';

  async start() {
    const met: string[] = [];
    for (const [name, way] of Object.entries(WAYS)) {
      try {
        this.text = String(await way(this.path));
        return;
      } catch (error) {
        met.push(`${name}: ${error}`);
      }
    }
    throw new Error(`no way to ${this.path}\n  ${met.join('\n  ')}`);
  }
}
