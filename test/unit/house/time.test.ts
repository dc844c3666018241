/** Time comes from outside where whole engines are simulated: what waits or looks at a clock by itself cannot be replayed. */
import { describe, expect, it } from 'vitest';
import { codeFiles, readProjectFile } from './project-files.ts';

const FOLDERS = ['engine/base/', 'engine/runs/', 'engine/scheduler/'];
const FILES = [
  'engine/commands/command-handler.ts',
  'engine/commands/held-partitions.ts',
  'engine/commands/offset-tracker.ts',
  'engine/commands/partition-intake.ts',
  'engine/publishing/send-lane.ts',
];
/** The real clock, the real timers, the real wait. */
const SOURCES_OF_TIME = ['engine/base/clock.ts', 'engine/base/timers.ts', 'engine/base/pause.ts'];
const OWN_TIME =
  /\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bset(?:Timeout|Interval|Immediate)\b|timers\/promises|AbortSignal\.timeout/;

describe('time in the parts that a simulation drives', () => {
  it('is only what they were given', () => {
    const looked = codeFiles().filter(
      (path) =>
        !SOURCES_OF_TIME.includes(path) && (FILES.includes(path) || FOLDERS.some((folder) => path.startsWith(folder))),
    );
    for (const path of FILES) expect(looked).toContain(path);
    const places = looked.flatMap((path) =>
      readProjectFile(path)
        .split('\n')
        .flatMap((line, index) => (OWN_TIME.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
    );
    expect(places).toEqual([]);
  });
});
