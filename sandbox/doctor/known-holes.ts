/**
 * Which published holes (published-holes.ts) the versions of a machine name, in words for a person: what it is, what to
 * do, and what cannot be known. Pure. A version alone cannot tell: distributions put fixes into old versions, and a
 * distribution's kernel may not even tell which release it was made from.
 */
import semver from 'semver';
import { kernelRelease } from './kernel-version.ts';
import { KNOWN_HOLES, type KnownHole, type Part } from './published-holes.ts';

/** What a machine says of itself; a part that is not there, or does not tell, is left out. */
export interface Versions extends Partial<Readonly<Record<Part, string>>> {
  /** The kernel that Docker's containers run on, where it is not that of this machine (Docker Desktop, a remote daemon). */
  readonly containerKernel?: string;
}

export interface HoleFinding {
  readonly id: string;
  readonly part: Part;
  /** As the machine tells it. */
  readonly version: string;
  /** Under which guests it is: of a kernel both tiers', where they share it. */
  readonly under: readonly ('isolate' | 'container')[];
  readonly what: string;
  readonly fixed: readonly string[];
  /** The version is a distribution's, which may hold the fix all the same. */
  readonly mayBeBackported: boolean;
  /** Named, not held against a policy: what it needs is nothing that guest code has here. */
  readonly isExcepted: boolean;
  readonly advisory: string;
  /** What it is, what to do, and what cannot be known; for a person. */
  readonly message: string;
}

const NAMES: Readonly<Record<Part, string>> = {
  runc: 'runc',
  containerd: 'containerd',
  docker: 'Docker',
  kernel: 'the Linux kernel',
  runsc: 'gVisor (runsc)',
  node: 'Node.js',
};
/** How far a repair of one branch reaches: kernels and runc keep x.y branches, Node and Docker x. */
const BRANCH: Readonly<Record<Part, 'major' | 'minor'>> = {
  runc: 'minor',
  containerd: 'minor',
  docker: 'major',
  kernel: 'minor',
  runsc: 'minor',
  node: 'major',
};

export function knownHoles(versions: Versions): HoleFinding[] {
  return KNOWN_HOLES.flatMap((hole) =>
    placesOf(hole.part, versions).flatMap(({ version, under }) => {
      const read = readVersion(hole.part, version);
      return read !== undefined && isAffected(read.version, hole) ? [findingOf(hole, version, under, read)] : [];
    }),
  );
}

interface Place {
  readonly version: string;
  readonly under: HoleFinding['under'];
}

function placesOf(part: Part, versions: Versions): Place[] {
  const version = versions[part];
  if (part !== 'kernel') {
    return version === undefined ? [] : [{ version, under: [part === 'node' ? 'isolate' : 'container'] }];
  }
  const { containerKernel } = versions;
  const own: Place[] =
    version === undefined
      ? []
      : [{ version, under: containerKernel === undefined ? ['isolate', 'container'] : ['isolate'] }];
  return containerKernel === undefined ? own : [...own, { version: containerKernel, under: ['container'] }];
}

/** The parts that guest code of a runtime meets: a hole in runc does not lead out of gVisor. */
export function holesOfRuntime(findings: readonly HoleFinding[], runtime: 'runc' | 'runsc'): HoleFinding[] {
  const other = runtime === 'runc' ? 'runsc' : 'runc';
  return findings.filter(({ part, under }) => part !== other && under.includes('container'));
}

/** By runtime, as a policy holds them against it (policy/machine.ts): what may be backported counts too. */
export function holesByRuntime(
  findings: readonly HoleFinding[],
  runtimes: readonly string[],
): { runtime: string; hole: string }[] {
  const known = (['runc', 'runsc'] as const).filter((runtime) => runtimes.includes(runtime));
  return known.flatMap((runtime) =>
    holesOfRuntime(findings, runtime)
      .filter(({ isExcepted }) => !isExcepted)
      .map(({ message }) => ({ runtime, hole: message })),
  );
}

/** What leads out of a jailed worker that guest code has taken over. */
export function holesUnderIsolates(findings: readonly HoleFinding[]): string[] {
  return findings
    .filter(({ under, isExcepted }) => under.includes('isolate') && !isExcepted)
    .map(({ message }) => message);
}

/** "CVE-2021-41091 (Docker 20.10.5)": those that are only named. */
export function exceptedHoles(findings: readonly HoleFinding[]): string[] {
  return findings
    .filter((found) => found.isExcepted)
    .map(({ id, part, version }) => `${id} (${NAMES[part]} ${version})`);
}

function findingOf(hole: KnownHole, version: string, under: HoleFinding['under'], read: ReadVersion): HoleFinding {
  const { id, part, what, fixed, instead, excepted, advisory, sourced } = hole;
  const mayBeBackported = read.isOfDistribution;
  const heard = sourced === 'second hand' ? ', as others tell; its advisory was not at hand' : '';
  const message = [
    `${id} in ${NAMES[part]} ${version}: ${what}. Fixed in ${fixed.join(', ')}${heard} (${uncertainty(read)}). `,
    excepted === undefined ? `To close it: ${update(part)}` : `Only named here: ${excepted}`,
    instead === undefined ? '' : `; ${instead}`,
    `. See ${advisory}`,
  ].join('');
  return {
    id,
    part,
    version,
    under,
    what,
    fixed,
    mayBeBackported,
    isExcepted: excepted !== undefined,
    advisory,
    message,
  };
}

function uncertainty({ isExact, isOfDistribution }: ReadVersion): string {
  if (!isExact) {
    return 'the number of this kernel tells its branch only: whether it holds the fix is in its changelog, not in its version';
  }
  return isOfDistribution
    ? 'this looks like a package of a distribution, which may hold the fix under an old number: its changelog tells, the version does not'
    : 'if it is a package of a distribution, its changelog tells whether it holds the fix: the version alone does not';
}

function update(part: Part): string {
  switch (part) {
    case 'kernel':
      return 'install the newest kernel of your distribution and start the machine anew';
    case 'runc':
    case 'containerd':
      return `update ${part} (with Docker's own packages it is in containerd.io)`;
    default:
      return `update ${NAMES[part]}`;
  }
}

/** Below the fix of its own branch, or of a branch that got none and began before the last repair. */
function isAffected(found: semver.SemVer, { part, introduced, fixed }: KnownHole): boolean {
  if (introduced !== undefined && semver.lt(found, normal(introduced))) return false;
  const fixes = fixed.map(normal);
  const inBranch = fixes.filter(
    (fix) => semver.major(fix) === found.major && (BRANCH[part] === 'major' || semver.minor(fix) === found.minor),
  );
  if (inBranch.length > 0) return inBranch.every((fix) => semver.lt(found, fix));
  // A branch without a fix of its own: repaired only when it began after the last one.
  return fixes.some((fix) => semver.lt(found, fix));
}

interface ReadVersion {
  readonly version: semver.SemVer;
  /** False: only the branch is known. */
  readonly isExact: boolean;
  readonly isOfDistribution: boolean;
}

const NUMBERS = /^v?(?:0\.0~)?(?:release-)?(\d+)\.(\d+)(?:\.(\d+))?(?:-((?:rc|alpha|beta)[.\d]*))?/;

/** Undefined: nothing can be said of a version that cannot be read. */
function readVersion(part: Part, text: string): ReadVersion | undefined {
  if (part === 'kernel') {
    const kernel = kernelRelease(text);
    const version = kernel === undefined ? undefined : semver.parse(normal(kernel.release));
    return kernel === undefined || version === null || version === undefined ? undefined : { ...kernel, version };
  }
  const match = NUMBERS.exec(text.trim());
  if (match === null) return undefined;
  const [, major, minor, patch = '0', pre] = match;
  const numbers = [major, minor, patch].map(Number).join('.');
  const version = semver.parse(normal(`${numbers}${pre === undefined ? '' : `-${pre.replace(/\.$/, '')}`}`));
  return version === null ? undefined : { version, isExact: true, isOfDistribution: isOfDistribution(text) };
}

/** rc10 comes after rc9: semver compares numbers only when they stand alone. */
function normal(version: string): string {
  return version.replace(/-(rc|alpha|beta)(\d)/, '-$1.$2');
}

/** "1.1.5+ds1-1+deb12u1", "20.10.24+dfsg1", "0.0~20221219.0", "1.7.28-0ubuntu1". */
function isOfDistribution(version: string): boolean {
  return /[+~]|ubuntu|deb\d|\.el\d|\.fc\d|\.amzn|-r\d+$/.test(version);
}
