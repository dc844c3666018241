import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { describe, expect, it } from 'vitest';
import { FakeHost } from '../../../support/fake-host.ts';
import { echoing, RunBench } from '../../../support/run-bench.ts';

const REF = { flowId: 'f', runId: 'r' };
const echo = (stepId: string, inputs: Record<string, string> = {}, more = {}) => ({
  stepId,
  pluginId: 'test.echo',
  inputs,
  ...more,
});

describe('a START', () => {
  it('runs steps in order of their references and tells the story in the existing shapes', async () => {
    const bench = await RunBench.open({ host: echoing() });
    await bench.start(REF, [echo('b', { text: 'a.text' }), echo('a', { text: 'hello' })]);
    await bench.ended('r');
    expect(bench.story('r')).toEqual(['RUNNING', 'a RUNNING', 'a COMPLETED', 'b RUNNING', 'b COMPLETED', 'COMPLETED']);
    expect(bench.host.attempts.map(({ request }) => request.inputsJson)).toEqual([
      '{"text":"hello"}',
      '{"text":"hello"}',
    ]);
    expect(bench.events.map((event) => event.sequence)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(new Set(bench.events.map((event) => event.eventId)).size).toBe(6);
    expect(bench.outcomes).toMatchObject([{ command: 'START', outcome: 'ACCEPTED', runId: 'r' }]);
  });

  it('runs independent steps at the same time', async () => {
    const bench = await RunBench.open();
    await bench.start(REF, [echo('a'), echo('b'), echo('c', {}, { dependsOn: ['a', 'b'] })]);
    await bench.host.started(2);
    expect(bench.host.attempts.map(({ request }) => request.stepId)).toEqual(['a', 'b']);
    for (const attempt of bench.host.attempts) attempt.complete({ text: 'x' });
    await bench.host.started(3);
    bench.host.attempts[2]?.complete({ text: 'x' });
    await bench.ended('r');
    expect(bench.story('r').at(-1)).toBe('COMPLETED');
  });

  it('is a DUPLICATE when repeated, also after the end, and REJECTED with another definition', async () => {
    const bench = await RunBench.open({ host: echoing() });
    await bench.start(REF, [echo('a')]);
    expect(await bench.start(REF, [echo('a')])).toMatchObject({ outcome: 'DUPLICATE' });
    await bench.ended('r');
    expect(await bench.start(REF, [echo('a')])).toMatchObject({ outcome: 'DUPLICATE' });
    expect(await bench.start(REF, [echo('other')])).toMatchObject({ outcome: 'REJECTED', code: 'RUN_EXISTS' });
    expect(bench.host.attempts).toHaveLength(1);
    expect(bench.outcomes.map(({ outcome }) => outcome).sort()).toEqual([
      'ACCEPTED',
      'DUPLICATE',
      'DUPLICATE',
      'REJECTED',
    ]);
  });

  it('with mistakes is REJECTED with all of them, one FLOW FAILED and no step event', async () => {
    const bench = await RunBench.open();
    await bench.start(REF, [echo('a', { text: '${b.text}' }), { stepId: 'c', pluginId: 'test.nothing' }]);
    await bench.ended('r');
    expect(bench.story('r')).toEqual(['FAILED']);
    const [event] = bench.events;
    expect(event?.error).toContain('names step b');
    expect(event?.error).toContain('no plugin test.nothing');
    expect(event?.code).toBe('FLOW_INVALID');
    expect(bench.outcomes).toMatchObject([{ outcome: 'REJECTED', code: 'FLOW_INVALID' }]);
  });

  it.each([[undefined], [null], [[]], ['steps'], [[{ stepId: 5 }]], [[null]]])(
    'with steps %j is REJECTED and FAILED, not RUNNING for ever',
    async (steps) => {
      const bench = await RunBench.open();
      await bench.send({ eventType: 'START', ...REF, ...(steps === undefined ? {} : { steps }) });
      await bench.ended('r');
      expect(bench.story('r')).toEqual(['FAILED']);
      expect(bench.outcomes).toMatchObject([{ outcome: 'REJECTED', code: 'FLOW_INVALID' }]);
    },
  );

  it('that waits for a slow plugin service holds up no other run', async () => {
    const bench = await RunBench.open({ host: echoing() });
    const known = bench.plugins.answer;
    const slow = Promise.withResolvers<void>();
    bench.plugins.answer = async (pluginId) => {
      if (pluginId === 'test.slow') await slow.promise;
      return known('test.echo');
    };
    await bench.start({ flowId: 'f', runId: 'slow' }, [{ stepId: 's', pluginId: 'test.slow' }]);
    await bench.start(REF, [echo('a')]);
    await bench.ended('r');
    expect(await bench.send({ eventType: 'STOP', flowId: 'f', runId: 'slow' })).toMatchObject({ outcome: 'ACCEPTED' });
    await bench.ended('slow');
    expect(bench.story('slow')).toEqual(['STOPPED']);
    slow.resolve();
  });

  it('older than the retention is STALE when its run is not known', async () => {
    const bench = await RunBench.open();
    const old = Date.now() - 8 * 24 * 3600 * 1000;
    const answer = await bench.send({ eventType: 'START', ...REF, steps: [echo('a')] }, '5', old);
    expect(answer.outcome).toBe('STALE');
    expect(bench.events).toEqual([]);
  });
});

describe('a failure', () => {
  it('cancels what runs, takes no more, and tells FAILED last', async () => {
    const bench = await RunBench.open();
    await bench.start(REF, [echo('a'), echo('b'), echo('c', { text: 'a.text' })]);
    await bench.host.started(2);
    bench.host.attempts[0]?.fail('PLUGIN_ERROR', 'broken');
    await bench.ended('r');
    expect(bench.host.attempts[1]?.calls).toContain('cancel');
    expect(bench.story('r')).toEqual([
      'RUNNING',
      'a RUNNING',
      'b RUNNING',
      'a FAILED',
      'c CANCELLED',
      'b CANCELLED',
      'FAILED',
    ]);
    expect(bench.events.at(-1)).toMatchObject({ error: 'step a failed: broken', code: 'PLUGIN_ERROR' });
  });

  it('of the inputs comes before any code runs', async () => {
    const bench = await RunBench.open({ host: echoing() });
    await bench.start(REF, [echo('a', { text: 'no number' }), echo('b', { n: 'a.text' })]);
    await bench.ended('r');
    expect(bench.story('r')).toEqual(['RUNNING', 'a RUNNING', 'a COMPLETED', 'b FAILED', 'FAILED']);
    expect(bench.events.find((event) => event.eventType === 'STEP_STATUS' && event.status === 'FAILED')).toMatchObject({
      code: 'INPUT_INVALID',
      error: 'input n must be integer, not "no number"',
    });
    expect(bench.host.attempts).toHaveLength(1);
  });

  it('of the outputs is told by name: one not set, one of a wrong type', async () => {
    for (const [outputs, text] of [
      [{}, 'output text (string) of test.echo was not set'],
      [{ text: 5 }, 'output text of test.echo must be string, not 5'],
    ] as const) {
      const bench = await RunBench.open({ host: new FakeHost((attempt) => attempt.complete(outputs)) });
      await bench.start(REF, [echo('a')]);
      await bench.ended('r');
      expect(bench.events.at(-1)).toMatchObject({ status: 'FAILED', code: 'OUTPUT_INVALID' });
      expect(bench.events.at(-1)?.error).toContain(text);
    }
  });

  it('of ours is tried again without spending the user’s attempts, and named when it stays', async () => {
    const host = new FakeHost((attempt) => attempt.fail('SANDBOX_UNAVAILABLE', 'no worker'));
    const bench = await RunBench.open({ host });
    await bench.start(REF, [echo('a')]);
    await bench.ended('r');
    expect(host.attempts.map(({ request }) => request.attempt)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(bench.events.at(-1)?.error).toContain('no worker (6 times in a row');
  });
});

describe('PAUSE, RESUME and STOP', () => {
  it('a pause lets running steps finish, starts none, tells once more when it is quiet; a resume goes on', async () => {
    const bench = await RunBench.open();
    await bench.start(REF, [echo('a'), echo('b', { text: 'a.text' })]);
    await bench.host.started(1);
    expect(await bench.send({ eventType: 'PAUSE', ...REF })).toMatchObject({ outcome: 'ACCEPTED' });
    expect(await bench.send({ eventType: 'PAUSE', ...REF })).toMatchObject({ outcome: 'DUPLICATE' });
    expect(bench.host.attempts[0]?.calls).toContain('pause');
    bench.host.attempts[0]?.complete({ text: 'x' });
    await bench.until(() => bench.outcomes.some(({ quiescent }) => quiescent === true));
    expect(bench.story('r')).toEqual(['RUNNING', 'a RUNNING', 'PAUSED', 'a COMPLETED']);
    await bench.send({ eventType: 'RESUME', ...REF });
    await bench.host.started(2);
    bench.host.attempts[1]?.complete({ text: 'y' });
    await bench.ended('r');
    expect(bench.story('r').slice(4)).toEqual(['RUNNING', 'b RUNNING', 'b COMPLETED', 'COMPLETED']);
  });

  it('a stop cancels running and waiting steps and tells STOPPED last', async () => {
    const bench = await RunBench.open();
    await bench.start(REF, [echo('a'), echo('b', { text: 'a.text' })]);
    await bench.host.started(1);
    await bench.send({ eventType: 'STOP', ...REF });
    await bench.ended('r');
    expect(bench.story('r')).toEqual(['RUNNING', 'a RUNNING', 'b CANCELLED', 'a CANCELLED', 'STOPPED']);
    expect(await bench.send({ eventType: 'STOP', ...REF })).toMatchObject({ outcome: 'REJECTED', code: 'RUN_FINAL' });
  });

  it('a stop of 2,000 steps goes in slices and loses none', async () => {
    const bench = await RunBench.open({ host: new FakeHost(undefined, 3) });
    await bench.start(
      REF,
      Array.from({ length: 2_000 }, (_, index) => echo(`s${index}`)),
    );
    await bench.host.started(3);
    await bench.send({ eventType: 'STOP', ...REF });
    await bench.ended('r');
    const cancelled = bench.story('r').filter((line) => line.endsWith('CANCELLED'));
    expect(new Set(cancelled).size).toBe(2_000);
    expect(bench.story('r').at(-1)).toBe('STOPPED');
    expect(bench.events.map((event) => event.sequence)).toEqual(bench.events.map((_, index) => index + 1));
  });

  it('commands for an unknown run are REJECTED and publish no status', async () => {
    const bench = await RunBench.open();
    for (const eventType of ['PAUSE', 'RESUME']) {
      expect(await bench.send({ eventType, ...REF })).toMatchObject({ outcome: 'REJECTED', code: 'RUN_UNKNOWN' });
    }
    expect(bench.events).toEqual([]);
  });

  it('a STOP that comes before its START makes it end STOPPED without running', async () => {
    const bench = await RunBench.open();
    expect(await bench.send({ eventType: 'STOP', ...REF })).toMatchObject({ code: 'RUN_UNKNOWN' });
    await bench.start(REF, [echo('a')]);
    await bench.ended('r');
    expect(bench.story('r')).toEqual(['STOPPED']);
    expect(bench.host.attempts).toEqual([]);
  });

  it('a redelivered command has no effect and gets the same outcome again', async () => {
    const bench = await RunBench.open();
    await bench.start(REF, [echo('a')]);
    await bench.host.started(1);
    await bench.send({ eventType: 'PAUSE', ...REF }, '10');
    await bench.send({ eventType: 'RESUME', ...REF }, '11');
    const told = bench.events.length;
    expect(await bench.send({ eventType: 'PAUSE', ...REF }, '10')).toMatchObject({ outcome: 'ACCEPTED' });
    expect(await bench.send({ eventType: 'RESUME', ...REF }, '11')).toMatchObject({ outcome: 'ACCEPTED' });
    expect(bench.events.length).toBe(told);
    expect(bench.service.active(REF)?.state.status).toBe('RUNNING');
  });
});

describe('places', () => {
  it('are shared fairly: a run of many steps does not starve a small one', async () => {
    const host = new FakeHost(undefined, 2);
    const bench = await RunBench.open({ host });
    await bench.start(
      { flowId: 'f', runId: 'big' },
      Array.from({ length: 50 }, (_, index) => echo(`s${index}`)),
    );
    await host.started(2);
    await bench.start({ flowId: 'f', runId: 'small' }, [echo('a'), echo('b', { text: 'a.text' })]);
    await bench.until(() => bench.story('small').includes('RUNNING'));
    for (let at = 0; !bench.isFinal('small'); at++) {
      host.attempts[at]?.complete({ text: 'x' });
      await Promise.race([host.started(at + 3), bench.ended('small')]);
      expect(at).toBeLessThan(10);
    }
    expect(bench.isFinal('big')).toBe(false);
  });

  it('go to the higher priority first', async () => {
    const host = new FakeHost(undefined, 1);
    const bench = await RunBench.open({ host });
    await bench.start({ flowId: 'f', runId: 'holder' }, [echo('h')]);
    await host.started(1);
    await bench.start({ flowId: 'f', runId: 'low' }, [echo('l')]);
    await bench.until(() => bench.story('low').length > 0);
    await bench.start({ flowId: 'f', runId: 'high' }, [echo('x')], { priority: 5 });
    await bench.until(() => bench.story('high').length > 0);
    host.attempts[0]?.complete({ text: 'x' });
    await host.started(2);
    expect(host.attempts[1]?.request.runId).toBe('high');
  });

  it('wait while no host is connected, and are taken when one comes', async () => {
    const bench = await RunBench.open();
    bench.sandboxes.change(undefined);
    await bench.start(REF, [echo('a')]);
    await bench.until(() => bench.story('r').length > 0);
    expect(bench.story('r')).toEqual(['RUNNING']);
    bench.sandboxes.change(echoing());
    await bench.ended('r');
  });

  it('runs beyond the limit wait in the store, by priority, then age', async () => {
    const bench = await RunBench.open({ maxActiveRuns: 1 });
    await bench.start({ flowId: 'f', runId: 'first' }, [echo('a')]);
    await bench.start({ flowId: 'f', runId: 'low' }, [echo('a')]);
    await bench.start({ flowId: 'f', runId: 'high' }, [echo('a')], { priority: 1 });
    expect(bench.service.queuedCount).toBe(2);
    await bench.host.started(1);
    echoing(bench.host);
    bench.host.attempts[0]?.complete({ text: 'x' });
    await bench.ended('low');
    const finals = bench.events.filter((event) => event.eventType === 'FLOW_STATUS' && event.status === 'COMPLETED');
    expect(finals.map((event) => event.runId)).toEqual(['first', 'high', 'low']);
  });
});

describe('recovery', () => {
  it('goes on where the killed engine stood and runs no completed step again', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const before = await RunBench.open({ store });
    await before.start(REF, [echo('a', { text: 'one' }), echo('b', { text: 'a.text' }), echo('c', { text: 'b.text' })]);
    await before.host.started(1);
    before.host.attempts[0]?.complete({ text: 'one' });
    await before.host.started(2);
    before.kill();

    const after = await RunBench.open({ store, host: echoing() });
    await after.ended('r');
    expect(after.host.attempts.map(({ request }) => [request.stepId, request.attempt, request.inputsJson])).toEqual([
      ['b', 2, '{"text":"one"}'],
      ['c', 1, '{"text":"one"}'],
    ]);
    const all = [...before.events, ...after.events];
    expect(all.at(-1)?.status).toBe('COMPLETED');
    const sequences = [...new Set(all.map((event) => event.sequence))];
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
  });

  it('sends again what was committed and not published, with the ids it had', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const before = new RunBench({ store });
    await before.service.openPartition('0');
    before.publisher.publish = () => new Promise(() => undefined); // the broker answers nothing
    await before.start(REF, [echo('a')]);
    await before.host.started(1);
    before.kill();
    const stored = await store.read(REF);
    const after = await RunBench.open({ store, host: echoing() });
    await after.ended('r');
    expect(after.story('r')).toEqual(['RUNNING', 'a RUNNING', 'a RUNNING', 'a COMPLETED', 'COMPLETED']);
    const ids = (stored?.outbox ?? [])
      .map((text): unknown => JSON.parse(text).eventId)
      .filter((id) => id !== undefined);
    expect(after.events.slice(0, 2).map((event) => event.eventId)).toEqual(ids);
  });

  it('keeps a paused run paused, a stopping run stopping, and plans a queued one', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const before = await RunBench.open({ store });
    const never = new Promise<never>(() => undefined);
    await before.start({ flowId: 'f', runId: 'paused' }, [echo('a'), echo('b', { text: 'a.text' })]);
    await before.host.started(1);
    await before.send({ eventType: 'PAUSE', flowId: 'f', runId: 'paused' });
    before.plugins.answer = () => never;
    await before.start({ flowId: 'f', runId: 'queued' }, [echo('a')]);
    before.kill();

    const after = await RunBench.open({ store, host: echoing() });
    await after.ended('queued');
    await after.until(() => after.outcomes.some(({ quiescent }) => quiescent === true));
    expect(after.isFinal('paused')).toBe(false);
    await after.send({ eventType: 'RESUME', flowId: 'f', runId: 'paused' });
    await after.ended('paused');
    expect(after.story('paused').at(-1)).toBe('COMPLETED');
  });

  it('takes a run up for a command that comes before recovery reached it', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const before = await RunBench.open({ store });
    await before.start(REF, [echo('a')]);
    await before.host.started(1);
    before.kill();
    const after = await RunBench.open({ store });
    expect(await after.send({ eventType: 'STOP', ...REF })).toMatchObject({ outcome: 'ACCEPTED' });
    await after.ended('r');
    expect(after.story('r').at(-1)).toBe('STOPPED');
  });

  it('a former owner writes and tells nothing more', async () => {
    const store = openSqliteStore({ file: ':memory:' });
    const former = await RunBench.open({ store });
    await former.start(REF, [echo('a'), echo('b', { text: 'a.text' })]);
    await former.host.started(1);
    const owner = await RunBench.open({ store, host: echoing() });
    await owner.ended('r');
    const told = former.events.length;
    former.host.attempts[0]?.complete({ text: 'late' });
    await expect.poll(() => former.service.activeCount).toBe(0);
    expect(former.events.length).toBe(told);
    expect((await store.readAllOutputs(REF)).get('a.text')).toBe('"x"');
  });
});
