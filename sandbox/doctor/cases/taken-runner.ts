/**
 * Attempts of case 34 in which the plugin becomes its runner: Node's inspector leads from the plugin's thread to the
 * main one, from where every frame of the protocol can be sent, with the step's own token. Nothing may come of it that
 * the step may not do anyway, and no frame may cost the host or the engine more than its limits.
 */
import { ends, type PluginAttempt } from '../case.ts';

/** In the runner's main thread: `taken` sends frames, made by hand as sandbox.proto numbers them. */
const TAKE = `(() => {
  const varint = (n) => { const b = []; do { b.push((n % 128) + (n > 127 ? 128 : 0)); n = Math.floor(n / 128); } while (n > 0); return Buffer.from(b); };
  const field = (no, v) => typeof v === 'number' ? Buffer.concat([varint(no * 8), varint(v)]) : Buffer.concat([varint(no * 8 + 2), varint(Buffer.byteLength(v)), Buffer.from(v)]);
  const frame = (no, ...fields) => { const body = field(no, Buffer.concat(fields)); const head = Buffer.alloc(4); head.writeUInt32BE(body.length); return Buffer.concat([head, body]); };
  const { Socket } = process.getBuiltinModule('net');
  const write = Socket.prototype.write;
  globalThis.taken = { field, frame };
  // Nothing of the runner ends it any more.
  process.kill = process.exit = () => true;
  for (const name of ['destroy', 'destroySoon', 'end']) Socket.prototype[name] = function () { return this; };
  Socket.prototype.write = function (chunk, ...more) {
    const at = Buffer.from(chunk).indexOf(Buffer.from([0x0a, 0x10]));
    if (at >= 0) Object.assign(taken, { token: Buffer.from(chunk).subarray(at + 2, at + 18), send: (bytes) => write.call(this, bytes) });
    return write.call(this, chunk, ...more);
  };
})()`;

const PROLOGUE = `import inspector from 'node:inspector';
const session = new inspector.Session();
const inMain = (expression) => new Promise((yes, no) => session.post('Runtime.evaluate', { expression, returnByValue: true },
  (failure, answer) => failure ? no(failure) : answer.exceptionDetails ? no(new Error(answer.exceptionDetails.exception?.description)) : yes(answer.result.value)));
async function take(logger, order) {
  session.connectToMainThread();
  await inMain(${JSON.stringify(TAKE)});
  logger.info('taken');
  while ((await inMain('typeof taken.send')) !== 'function') await new Promise((r) => setTimeout(r, 5));
  await inMain('(() => { const { token, field, frame, send } = taken; ' + order + ' })()');
  await new Promise(() => {});
}`;

function taken(what: string, ending: Parameters<typeof ends>[1], order: string): PluginAttempt {
  return {
    ...ends(`a runner that ${what}`, ending, `await take(logger, ${JSON.stringify(order)});`),
    prologue: PROLOGUE,
    isNode: true,
    outputs: { o: 'json' },
    limits: { wallMs: 6_000, cpuMs: 20_000 },
  };
}

const OF_THE_STEP = 'field(1, token)';
const result = (...fields: string[]): string => `send(frame(11, ${[OF_THE_STEP, ...fields].join(', ')}));`;
const COMPLETED = 'field(2, 1)';
const FAILED = 'field(2, 2)';

export const TAKEN_RUNNER: readonly PluginAttempt[] = [
  {
    ...taken(
      'tells a result of its own, twice, and one of another step',
      'COMPLETED',
      [
        `send(frame(11, field(1, Buffer.alloc(16, 7)), ${COMPLETED}, field(5, '{"o":"of another"}')));`,
        result(COMPLETED, `field(5, '{"o":"mine"}')`),
        result(COMPLETED, `field(5, '{"o":"again"}')`),
      ].join(' '),
    ),
    expect: { endings: ['COMPLETED'], outputs: { o: 'mine' } },
  },
  taken(
    'blames the infrastructure, which would be a free rerun',
    'SANDBOX_CRASHED',
    result(FAILED, "field(3, 'SANDBOX_UNAVAILABLE')", "field(4, 'not mine')"),
  ),
  taken(
    'tells outputs beyond the limit',
    'LIMIT_OUTPUT',
    result(COMPLETED, `field(5, '{"o":"' + 'x'.repeat(2e6) + '"}')`),
  ),
  taken(
    'tells outputs that no JSON of ours may be',
    'OUTPUT_INVALID',
    result(COMPLETED, `field(5, '{"o":{"__proto__":1}}')`),
  ),
  taken(
    'logs lines without text, which cost nothing to send',
    'LIMIT_LOG',
    `const many = Buffer.concat(Array(10_000).fill(frame(15, ${OF_THE_STEP}))); setInterval(() => send(many), 50);`,
  ),
  taken(
    'logs fields that are no JSON',
    'COMPLETED',
    `for (const fields of ['{', '[1]', '{"__proto__":{"a":1}}', Buffer.from([255, 254])]) send(frame(15, ${OF_THE_STEP}, field(2, 'info\\u001b[2J'), field(3, 'm'), field(4, fields))); ${result(COMPLETED, `field(5, '{"o":1}')`)}`,
  ),
  taken(
    'tells progress without end',
    'LIMIT_LOG',
    `const many = Buffer.concat(Array(5_000).fill(frame(16, ${OF_THE_STEP}, Buffer.from([17, 0, 0, 0, 0, 0, 0, 248, 127]), field(3, 'x')))); setInterval(() => send(many), 100);`,
  ),
  taken(
    'makes more host calls than its limit',
    'LIMIT_HOST_CALLS',
    `for (let id = 1; id < 5_000; id++) send(frame(13, ${OF_THE_STEP}, field(2, id), field(3, id % 2 ? 'secret' : 'constructor'), field(4, '{"name":"A"}')));`,
  ),
  taken(
    'asks with payloads that are dearer to read than to send',
    'COMPLETED',
    `for (let id = 1; id < 12; id++) send(frame(13, ${OF_THE_STEP}, field(2, id), field(3, ['secret', 'fetch', 'abort'][id % 3]), field(4, (id % 2 ? '[' : '[],').repeat(2e5)))); ${result(COMPLETED, `field(5, '{"o":1}')`)}`,
  ),
  taken('says Hello again', 'SANDBOX_CRASHED', "send(frame(1, field(1, 1), field(2, 1), field(3, 'engine')));"),
  taken('speaks as its host would', 'SANDBOX_CRASHED', `send(frame(14, ${OF_THE_STEP}, field(2, 1), field(3, 1)));`),
  taken(
    'sends a code cache, which only a worker may',
    'SANDBOX_CRASHED',
    "send(frame(20, field(1, 'sha256:' + '0'.repeat(64)), field(2, 'x')));",
  ),
];
