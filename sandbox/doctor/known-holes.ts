/**
 * Published ways out of a container, by the part that has them and the versions that fixed them; and which of them the
 * versions of a machine name. Pure. A version alone cannot tell: distributions put fixes into old versions, and every
 * finding says so where the version looks like a distribution's.
 */
import semver from 'semver';

export type Part = 'runc' | 'containerd' | 'docker' | 'kernel' | 'runsc';

export interface KnownHole {
  readonly id: string;
  readonly part: Part;
  /** What an attacker gets, one clause. */
  readonly what: string;
  /** First version with it; absent: all before the fixes. */
  readonly introduced?: string;
  /** One for each branch that was repaired; later branches never had it. */
  readonly fixed: readonly string[];
  /** Beside an update: what closes it. */
  readonly instead?: string;
  readonly advisory: string;
}

const GHSA_RUNC = 'https://github.com/opencontainers/runc/security/advisories';
const NVD = 'https://nvd.nist.gov/vuln/detail';

export const KNOWN_HOLES: readonly KnownHole[] = [
  {
    id: 'CVE-2019-5736',
    part: 'runc',
    what: 'a container can overwrite the runc of its host',
    fixed: ['1.0.0-rc7'],
    advisory: `${NVD}/CVE-2019-5736`,
  },
  {
    id: 'CVE-2021-30465',
    part: 'runc',
    what: 'a symlink swapped during a mount puts the root folder of the host into a container',
    fixed: ['1.0.0-rc95'],
    advisory: `${GHSA_RUNC}/GHSA-c3xm-pvg7-gh7r`,
  },
  {
    id: 'CVE-2024-21626',
    part: 'runc',
    what: 'a descriptor of a host folder leaks into the container ("Leaky Vessels")',
    fixed: ['1.1.12', '1.2.0-rc.1'],
    advisory: `${GHSA_RUNC}/GHSA-xr7r-f8xq-vfvv`,
  },
  {
    id: 'CVE-2025-31133',
    part: 'runc',
    what: 'a race in masked paths lets a container write to files of the host under /proc',
    fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
    instead: 'user namespaces (userns-remap) and a user other than root lessen it',
    advisory: `${GHSA_RUNC}/GHSA-9493-h29p-rfm2`,
  },
  {
    id: 'CVE-2025-52565',
    part: 'runc',
    what: 'a race in the mount of /dev/console comes before paths are masked',
    fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
    advisory: `${GHSA_RUNC}/GHSA-qw9x-cqr3-wc7r`,
  },
  {
    id: 'CVE-2025-52881',
    part: 'runc',
    what: 'writes of runc to /proc can be led elsewhere, past AppArmor and SELinux',
    fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
    advisory: `${GHSA_RUNC}/GHSA-cgrx-mc8f-2prm`,
  },
  {
    id: 'CVE-2020-15257',
    part: 'containerd',
    what: 'its control socket can be reached by containers with the network of the host, which step containers never have',
    fixed: ['1.3.9', '1.4.3'],
    advisory: `${NVD}/CVE-2020-15257`,
  },
  {
    id: 'CVE-2022-23648',
    part: 'containerd',
    what: 'a crafted image reads files of the host',
    fixed: ['1.4.13', '1.5.10', '1.6.1'],
    advisory: `${NVD}/CVE-2022-23648`,
  },
  {
    id: 'CVE-2019-14271',
    part: 'docker',
    what: '`docker cp` runs code of the container as root of the host',
    introduced: '19.3.0',
    fixed: ['19.3.1'],
    advisory: `${NVD}/CVE-2019-14271`,
  },
  {
    id: 'CVE-2021-41091',
    part: 'docker',
    what: 'users of the host can run programs with setuid out of the folders of containers',
    fixed: ['20.10.9'],
    advisory: `${NVD}/CVE-2021-41091`,
  },
  {
    id: 'CVE-2022-0185',
    part: 'kernel',
    what: 'an overflow in fsconfig leads from a container to the kernel',
    introduced: '5.1.0',
    fixed: ['5.4.173', '5.10.93', '5.15.16', '5.16.2'],
    instead: 'our seccomp profile lets no container call unshare or fsconfig',
    advisory: `${NVD}/CVE-2022-0185`,
  },
  {
    id: 'CVE-2022-0492',
    part: 'kernel',
    what: 'release_agent of cgroup v1 runs a program of the container on the host',
    fixed: ['4.9.301', '4.14.266', '4.19.229', '5.4.177', '5.10.97', '5.15.20', '5.16.6'],
    instead: 'our seccomp profile lets no container call unshare or mount',
    advisory: `${NVD}/CVE-2022-0492`,
  },
  {
    id: 'CVE-2022-0847',
    part: 'kernel',
    what: 'files that can only be read can be overwritten ("Dirty Pipe")',
    introduced: '5.8.0',
    fixed: ['5.10.102', '5.15.25', '5.16.11'],
    advisory: `${NVD}/CVE-2022-0847`,
  },
  {
    id: 'CVE-2024-1086',
    part: 'kernel',
    what: 'a use after free in nf_tables gives root to whoever may make a user and network namespace',
    introduced: '3.15.0',
    fixed: ['5.4.269', '5.10.210', '5.15.149', '6.1.76', '6.6.15', '6.7.3'],
    instead: 'our seccomp profile lets no container call unshare or open netlink sockets',
    advisory: `${NVD}/CVE-2024-1086`,
  },
  {
    id: 'CVE-2026-31431',
    part: 'kernel',
    what: 'AF_ALG sockets write into the page cache of files that can only be read ("Copy Fail")',
    introduced: '4.14.0',
    fixed: ['5.10.254', '5.15.204', '6.1.170', '6.6.137', '6.12.85', '6.18.22', '6.19.12'],
    instead: 'our seccomp profile lets no container open AF_ALG sockets; elsewhere, keep algif_aead from being loaded',
    advisory: `${NVD}/CVE-2026-31431`,
  },
  {
    id: 'CVE-2018-16359',
    part: 'runsc',
    what: 'a container can rename files of its host',
    fixed: ['20180823.0.0'],
    advisory: `${NVD}/CVE-2018-16359`,
  },
  {
    id: 'CVE-2025-2713',
    part: 'runsc',
    what: 'runsc opens files with more rights than its user has until its first fork',
    // The advisory names a commit (586c38d7), not a release: those from April 2025 on hold it.
    fixed: ['20250401.0.0'],
    advisory: `${NVD}/CVE-2025-2713`,
  },
];

/** What a machine says of itself; a part that is not there, or does not tell, is left out. */
export type Versions = Partial<Readonly<Record<Part, string>>>;

export interface HoleFinding {
  readonly id: string;
  readonly part: Part;
  /** As the machine tells it. */
  readonly version: string;
  readonly what: string;
  readonly fixed: readonly string[];
  /** The version is a distribution's, which may hold the fix all the same. */
  readonly mayBeBackported: boolean;
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
};

export function knownHoles(versions: Versions): HoleFinding[] {
  return KNOWN_HOLES.flatMap((hole) => {
    const version = versions[hole.part];
    return version === undefined || !isAffected(version, hole) ? [] : [findingOf(hole, version)];
  });
}

/** The parts that guest code of a runtime meets: a hole in runc does not lead out of gVisor. */
export function holesOfRuntime(findings: readonly HoleFinding[], runtime: 'runc' | 'runsc'): HoleFinding[] {
  return findings.filter(({ part }) => part !== (runtime === 'runc' ? 'runsc' : 'runc'));
}

/** By runtime, as a policy holds them against it (policy/machine.ts): what may be backported counts too. */
export function holesByRuntime(
  findings: readonly HoleFinding[],
  runtimes: readonly string[],
): { runtime: string; hole: string }[] {
  const known = (['runc', 'runsc'] as const).filter((runtime) => runtimes.includes(runtime));
  return known.flatMap((runtime) =>
    holesOfRuntime(findings, runtime).map(({ message }) => ({ runtime, hole: message })),
  );
}

function findingOf(hole: KnownHole, version: string): HoleFinding {
  const { id, part, what, fixed, instead, advisory } = hole;
  const mayBeBackported = isOfDistribution(version);
  const backport = mayBeBackported
    ? ' (this looks like a package of a distribution, which may hold the fix under an old number: its changelog tells, the version does not)'
    : ' (if it is a package of a distribution, its changelog tells whether it holds the fix: the version alone does not)';
  const message = `${id} in ${NAMES[part]} ${version}: ${what}. Fixed in ${fixed.join(', ')}${backport}${instead === undefined ? '' : `; ${instead}`}. See ${advisory}`;
  return { id, part, version, what, fixed, mayBeBackported, advisory, message };
}

/** Below the fix of its own branch, or of a branch that got none and began before the last repair. */
function isAffected(version: string, { introduced, fixed }: KnownHole): boolean {
  const found = parse(version);
  if (found === undefined) return false; // nothing can be said of a version that cannot be read
  if (introduced !== undefined && semver.lt(found, introduced)) return false;
  const ofBranch = fixed.find((fix) => semver.major(fix) === found.major && semver.minor(fix) === found.minor);
  if (ofBranch !== undefined) return semver.lt(found, ofBranch);
  // A branch without a fix of its own: repaired only when it began after the last one.
  return fixed.some((fix) => semver.lt(found, fix));
}

const NUMBERS = /^v?(?:0\.0~)?(?:release-)?(\d+)\.(\d+)(?:\.(\d+))?(?:-((?:rc|alpha|beta)[.\d]*))?/;

function parse(version: string): semver.SemVer | undefined {
  const match = NUMBERS.exec(version.trim());
  if (match === null) return undefined;
  const [, major, minor, patch = '0', pre] = match;
  const numbers = [major, minor, patch].map(Number).join('.');
  return semver.parse(`${numbers}${pre === undefined ? '' : `-${pre.replace(/\.$/, '')}`}`) ?? undefined;
}

/** "1.1.5+ds1-1+deb12u1", "20.10.24+dfsg1", "0.0~20221219.0", "5.14.0-611.el9.x86_64", "6.8.0-45-generic". */
function isOfDistribution(version: string): boolean {
  return /[+~]|ubuntu|deb\d|\.el\d|\.fc\d|\.amzn|-generic|-cloud|-aws|-azure|-gcp|-amd64|-arm64|-r\d+$/.test(version);
}
