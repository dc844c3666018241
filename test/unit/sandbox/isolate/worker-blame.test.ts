import { describe, expect, it } from 'vitest';
import { type EndCause, endOfJob } from '../../../../sandbox/isolate/worker-blame.ts';

const end = (
  cause: EndCause<string>,
  changes: { wasReady?: boolean; wasAlone?: boolean; isOom?: boolean; fault?: string } = {},
) => endOfJob('me', { cause, wasReady: true, wasAlone: true, isOom: false, ...changes });
const died: EndCause<string> = { kind: 'died', detail: 'gone' };
const breach: EndCause<string> = { kind: 'breach', code: 'LIMIT_CPU', detail: 'too much' };

describe('the blame for the end of a worker', () => {
  it('is on the only job in it', () => {
    expect(end(died)).toMatchObject({ kind: 'charged', code: 'SANDBOX_CRASHED' });
    expect(end(died, { isOom: true })).toMatchObject({ kind: 'charged', code: 'LIMIT_MEMORY' });
    expect(end(breach)).toMatchObject({ kind: 'charged', code: 'LIMIT_CPU' });
  });

  it('is on nobody yet when several were in it: each is a suspect', () => {
    expect(end(died, { wasAlone: false })).toMatchObject({ kind: 'suspect' });
    expect(end(died, { wasAlone: false, isOom: true })).toMatchObject({ kind: 'suspect' });
    expect(end(breach, { wasAlone: false })).toMatchObject({ kind: 'suspect' });
  });

  it('is on the job for whose sake the host ended it, and the others are innocent', () => {
    const overdue = { kind: 'charged', code: 'LIMIT_WALL', detail: 'late' } as const;
    expect(end({ kind: 'job', attempt: 'me', end: overdue }, { wasAlone: false })).toEqual(overdue);
    expect(end({ kind: 'job', attempt: 'other', end: overdue }, { wasAlone: false })).toMatchObject({
      kind: 'innocent',
    });
  });

  it('is never on a job of a worker that did not start or was closed', () => {
    expect(end(died, { wasReady: false })).toMatchObject({ kind: 'innocent' });
    expect(end({ kind: 'closed' })).toMatchObject({ kind: 'innocent' });
  });

  it('is on nobody when something of ours took it down, but memory counts first', () => {
    const fault = 'Docker was lost in the middle';
    expect(end(died, { fault })).toEqual({ kind: 'innocent', detail: fault });
    expect(end(died, { fault, wasAlone: false })).toEqual({ kind: 'innocent', detail: fault });
    expect(end(died, { fault, isOom: true })).toMatchObject({ kind: 'charged', code: 'LIMIT_MEMORY' });
    expect(end(breach, { fault })).toMatchObject({ kind: 'charged', code: 'LIMIT_CPU' });
  });
});
