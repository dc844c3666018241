/**
 * `npm run demo`: on a bare clone it brings what is missing, runs a flow of several steps through real isolates on
 * the embedded store, then plugins that attack their sandbox, and says how each was stopped. It ends
 * with three commands to type next. Needs no service and writes only into the clone (`.node`, `node_modules`,
 * `.cache`, `.flowops`).
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { findNode24, missingPackages, ROOT } from './node24.mjs';
import { setUpOrExit } from './setup.mjs';

/** Far above what any part of the demo takes; a demo that hangs is ended with a message. */
const PART_MAX_MS = 120_000;

const FLOWOPS = join(ROOT, 'bin', 'flowops.mjs');
const EXAMPLES = join('sdk', 'examples');
const FLOW = join(EXAMPLES, 'demo-flow.yaml');
/** Grants nothing and gives two seconds: a plugin that loops is to be seen stopping, not to be waited for. */
const POLICY = join('bin', 'demo', 'policy.yaml');

/** The codes are what the sandbox answers when it was the sandbox that stopped it, and not some fault of the demo. */
const HOSTILE = [
  { plugin: '90-read-file', title: 'reads /etc/passwd', codes: ['PLUGIN_ERROR', 'PLUGIN_FATAL'] },
  { plugin: '91-reach-network', title: 'asks for cloud credentials', codes: ['POLICY_DENIED'] },
  { plugin: '92-loop-for-ever', title: 'loops for ever', codes: ['LIMIT_WALL', 'LIMIT_CPU'] },
];

const startedMs = Date.now();
announce();
const node = await setUpOrExit({ dev: false });
const isFlowGood = await showFlow();
const isHostileStopped = await showHostile();
say('');
say(`That took ${((Date.now() - startedMs) / 1000).toFixed(1)} s. Next:`);
say('  npx flowops plugin new greet                             a plugin of your own, with its test');
say('  npx flowops sandbox run greet --input name=World         run it in the sandbox');
say(`  npx flowops run ${FLOW} --plugins ${EXAMPLES} --json     the flow again, as events`);
process.exitCode = isFlowGood && isHostileStopped ? 0 : 1;

function announce() {
  const missing = missingPackages({ dev: false }).length;
  const hasNode = findNode24() !== undefined;
  say('This demo');
  if (!hasNode || missing > 0) {
    const what = [hasNode ? undefined : 'Node 24 (about 50 MB)', missing > 0 ? `${missing} npm packages` : undefined];
    say(`  1. installs ${what.filter(Boolean).join(' and ')} into this folder (about half a minute, once)`);
  } else {
    say('  1. finds everything installed');
  }
  say(`  2. runs the flow ${FLOW}, every step in an isolate of its own (some seconds)`);
  say('  3. runs three plugins that attack their sandbox, and shows how each was stopped (some seconds)');
}

async function showFlow() {
  say('\n── a flow: parallel branches, outputs of one step as inputs of the next ──');
  say(`$ flowops run ${FLOW} --plugins ${EXAMPLES}`);
  const { code } = await flowops(['run', FLOW, '--plugins', EXAMPLES], { isShown: true });
  if (code !== 0) say(`The flow did not complete (exit code ${code}).`);
  return code === 0;
}

async function showHostile() {
  say('\n── plugins that attack their sandbox ──');
  let isStopped = true;
  for (const { plugin, title, codes } of HOSTILE) {
    const source = join(EXAMPLES, plugin);
    say(`$ flowops sandbox run ${source} --policy ${POLICY}`);
    const tryStartedMs = Date.now();
    const args = ['sandbox', 'run', source, '--policy', POLICY, '--json'];
    const { stdout, stderr } = await flowops(args, { isShown: false });
    const seconds = ((Date.now() - tryStartedMs) / 1000).toFixed(1);
    const result = parse(stdout);
    if (result?.status === 'FAILED' && codes.includes(result.code)) {
      say(`  ${title}: stopped after ${seconds} s`);
      say(`  ${result.code}: ${result.error}\n`);
    } else {
      isStopped = false;
      say(`  ${title}: NOT stopped as it should be: ${(stdout || stderr).trim()}\n`);
    }
  }
  return isStopped;
}

/** Runs our own command as a person would; its text is shown as it comes, or kept. */
function flowops(args, { isShown }) {
  return new Promise((resolve, reject) => {
    const child = spawn(node, [FLOWOPS, ...args], {
      cwd: ROOT,
      stdio: ['ignore', isShown ? 'inherit' : 'pipe', isShown ? 'inherit' : 'pipe'],
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), PART_MAX_MS);
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      stderr += chunk;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(limit);
      resolve({ code, stdout, stderr });
    });
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function say(line) {
  process.stdout.write(`${line}\n`);
}
