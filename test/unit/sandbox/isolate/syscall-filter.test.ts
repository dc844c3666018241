import { describe, expect, it } from 'vitest';
import { filterLoader } from '../../../../sandbox/isolate/filter-loader.ts';
import { ABSENT, DENIED, type FilterArch, filterProgram } from '../../../../sandbox/isolate/syscall-filter.ts';

const ARCHS: FilterArch[] = ['x64', 'arm64'];
const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7 };
const NUMBERS = {
  x64: { read: 0, execve: 59, clone: 56, socket: 41, futex: 202, kill: 62 },
  arm64: { read: 63, execve: 221, clone: 220, socket: 198, futex: 98, kill: 129 },
};
const ALLOWED = 'allowed';
const KILLED = 'killed';

/** What the kernel would answer: classic BPF has few instructions, and the program uses six of them. */
function answer(arch: FilterArch, number: number, argument = 0, audit = AUDIT[arch]): string {
  const program = filterProgram(arch);
  let accumulator = 0;
  for (let at = 0; at < program.length / 8; at++) {
    const [code, whenTrue, whenFalse, value] = [
      program.readUInt16LE(at * 8),
      program.readUInt8(at * 8 + 2),
      program.readUInt8(at * 8 + 3),
      program.readUInt32LE(at * 8 + 4),
    ];
    if (code === 0x20) accumulator = value === 0 ? number : value === 4 ? audit : value === 16 ? argument : Number.NaN;
    else if (code === 0x15) at += accumulator === value ? whenTrue : whenFalse;
    else if (code === 0x35) at += accumulator >= value ? whenTrue : whenFalse;
    else if (code === 0x45) at += (accumulator & value) !== 0 ? whenTrue : whenFalse;
    else if (code === 0x06) {
      if (value === 0x7fff0000) return ALLOWED;
      return value === 0x80000000 ? KILLED : `errno ${value & 0xffff}`;
    } else throw new Error(`instruction ${code}`);
  }
  throw new Error('the program ran past its end');
}

describe.each(ARCHS)('the system call filter of workers on %s', (arch) => {
  const { read, execve, clone, socket, futex, kill } = NUMBERS[arch];

  it('lets through what Node needs', () => {
    for (const number of [read, execve, futex, kill, 281, 1000]) expect(answer(arch, number)).toBe(ALLOWED);
  });

  it('refuses every call of its list, and lets libraries fall back where a newer call is absent', () => {
    for (const [name, x64, arm64] of DENIED) {
      const number = arch === 'x64' ? x64 : arm64;
      if (number !== undefined) expect([name, answer(arch, number)]).toEqual([name, 'errno 1']);
    }
    for (const [name, number] of ABSENT) expect([name, answer(arch, number)]).toEqual([name, 'errno 38']);
  });

  it('lets threads be made and no process', () => {
    expect(answer(arch, clone, 0x3d0f00)).toBe(ALLOWED); // what pthread_create asks for
    expect(answer(arch, clone, 0x1200011)).toBe('errno 1'); // what fork asks for
    expect(answer(arch, clone, 0x10000000 | 17)).toBe('errno 1'); // a user namespace
  });

  it('lets unix sockets be made and no other', () => {
    expect(answer(arch, socket, 1)).toBe(ALLOWED);
    for (const family of [2, 10, 16, 17, 31, 38, 40]) expect(answer(arch, socket, family)).toBe('errno 97');
  });

  it('ends a process that calls by the rules of another machine', () => {
    expect(answer(arch, read, 0, 0x40000003)).toBe(KILLED);
    if (arch === 'x64') expect(answer(arch, 0x40000000 | read)).toBe('errno 1');
  });

  it('has no call twice and is carried whole by its loader', () => {
    const numbers = [...DENIED.map(([, x64, arm64]) => (arch === 'x64' ? x64 : arm64)), ...ABSENT.map(([, n]) => n)];
    const present = numbers.filter((number) => number !== undefined);
    expect(new Set(present).size).toBe(present.length);
    const file = filterLoader(arch);
    const program = filterProgram(arch);
    expect(file.subarray(file.length - program.length).equals(program)).toBe(true);
    expect(file.readUInt16LE(file.length - program.length - 16)).toBe(program.length / 8);
    expect(file.subarray(0, 4).toString('latin1')).toBe('\x7fELF');
  });
});
