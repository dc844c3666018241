/** Cases 36 to 38: what plugins ask their host to do for them, in every tier. */

import { CANARY_SECRET } from '../canaries.ts';
import { ends, hunt, type PluginCase } from '../case.ts';

const runtimes = ['isolated-vm', 'runc', 'runsc'] as const;
const o = { o: 'json' } as const;
/** As in bench.ts. */
const GRANTED = 'GRANTED';

export const HOST_CALL_CASES: readonly PluginCase[] = [
  {
    kind: 'plugin',
    id: '36',
    title: 'a place that is not granted is refused, however it is written or reached',
    runtimes,
    attempts: ({ origin, forbidden }) => {
      const port = forbidden.split(':')[1] ?? '';
      const hosts = [
        '127.0.0.1',
        'localhost',
        '[::1]',
        '0x7f.1',
        '2130706433',
        '017700000001',
        '0.0.0.0',
        '127.1',
        '[::ffff:127.0.0.1]',
        'LOCALHOST',
        'localhost.',
        '127.0.0.1.',
        'user:pass@127.0.0.1',
        '１２７.0.0.1',
        '169.254.169.254',
        '10.0.0.1',
      ];
      const tries = `for (const host of ${JSON.stringify(hosts)}) {
          try { const r = await context.fetch('http://' + host + ':${port}/'); found.push([host, r.status]); } catch {}
        }`;
      return [
        hunt('nothing granted', tries),
        hunt('another place granted', tries, { grants: { net: [`private:${origin}`, `example.invalid:${port}`] } }),
        hunt(
          'a granted place that redirects',
          `try { const r = await context.fetch('http://${origin}/redirect'); found.push([r.status, r.url, await r.text()]); } catch {}`,
          { grants: { net: [`private:${origin}`] } },
        ),
        hunt(
          'a granted name that is private, without private:',
          `try { const r = await context.fetch('http://localhost:${port}/'); found.push(r.status); } catch {}`,
          { grants: { net: [`localhost:${port}`, `127.0.0.1:${port}`] } },
        ),
        {
          what: 'a granted place, which must work',
          body: `const r = await context.fetch('http://${origin}/'); return { o: await r.text() };`,
          outputs: o,
          grants: { net: [`private:${origin}`] },
          expect: { endings: ['COMPLETED'], outputs: { o: 'fine' } },
        },
      ];
    },
  },
  {
    kind: 'plugin',
    id: '37',
    title: 'answers that are huge, endless, compressed bombs or slow are bounded',
    runtimes,
    attempts: ({ origin }) =>
      (['large', 'endless', 'bomb', 'slow'] as const).map((path) =>
        ends(
          `/${path}`,
          // The call fails when it is too large; one that is slow outlives its step.
          path === 'slow' ? 'LIMIT_WALL' : 'PLUGIN_ERROR',
          `const r = await context.fetch('http://${origin}/${path}'); await r.arrayBuffer(); return {};`,
          { grants: { net: [`private:${origin}`] }, limits: { wallMs: path === 'slow' ? 2_000 : 20_000 } },
        ),
      ),
  },
  {
    kind: 'plugin',
    id: '38',
    title: 'a secret that is not granted is refused; one that is does not come out by accident',
    runtimes,
    attempts: [
      hunt(
        'names of other secrets',
        `for (const name of ['${CANARY_SECRET}', '../${CANARY_SECRET}', './${CANARY_SECRET}', '${GRANTED}/../${CANARY_SECRET}', '/etc/passwd', '', '.', '..', '${CANARY_SECRET}\\0']) {
           try { found.push([name, await context.secret(name)]); } catch {}
         }`,
        { grants: { secrets: [GRANTED] } },
      ),
      {
        what: 'a granted one in log and error',
        body: `const s = await context.secret('${GRANTED}'); console.log('it is ' + s); throw new Error('failed with ' + s);`,
        grants: { secrets: [GRANTED] },
        expect: { endings: ['PLUGIN_ERROR'], keepsBack: 'granted-secret-value-0123456789' },
      },
    ],
  },
];
