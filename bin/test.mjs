/**
 * `npm test`: brings what is missing, prints its plan, then each stage with its time; the last line is
 * `N passed, N failed`. With names of stages as arguments it runs only those (`npm run test:unit`).
 */
import { setUpOrExit } from './setup.mjs';
import { runStages, STAGES, say, secondsSince } from './stages.mjs';

const startedMs = Date.now();
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !STAGES.some((stage) => stage.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `no such stage: ${unknown.join(', ')}; there are ${STAGES.map(({ name }) => name).join(', ')}\n`,
  );
  process.exit(2);
}
const stages = STAGES.filter(({ name }) => asked.length === 0 || asked.includes(name));

say('plan:');
for (const { name, about } of stages) say(`  ${name.padEnd(12)} ${about}`);
const node = await setUpOrExit({ dev: true });
const { passed, failed } = await runStages({ node, names: stages.map(({ name }) => name) });
say(`\nall stages took ${secondsSince(startedMs)}`);
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
