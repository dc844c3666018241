/**
 * The plugin that `npm run demo` shows being stopped. It tries what a plugin must never manage; each try is written
 * as an attacker would, with whatever the language still offers.
 */
import { defineTask } from '@flowops/sdk';

export default defineTask({
  name: 'demo.hostile',
  version: '1.0.0',
  description: 'Tries to read a file, to reach the network, or to loop for ever',
  inputs: { attempt: { type: 'string', description: 'file, network or loop' } },
  outputs: { loot: { type: 'string', description: 'what it got; nobody should ever see it' } },
  async run({ inputs, context }) {
    if (inputs.attempt === 'loop') for (;;);
    if (inputs.attempt === 'network') {
      const response = await context.fetch('http://127.0.0.1:22/');
      return { loot: await response.text() };
    }
    // The way out that works in many home-made sandboxes: a constructor of the host, and its process object.
    const reach = Function('return typeof process === "undefined" ? undefined : process');
    const host = reach();
    if (host === undefined)
      throw new Error('no process, no require, no file system: there is nothing to read files with');
    return { loot: String(host.getBuiltinModule('node:fs').readFileSync('/etc/passwd', 'utf8')) };
  },
});
