/**
 * Which release of kernel.org a running kernel was made from. Its own name rarely tells: Debian's "6.1.0-28-amd64" counts
 * changes of the binary interface, Ubuntu's "6.8.0-45-generic" and Red Hat's "5.14.0-611.el9" stay at .0 for the life of
 * a branch. Debian writes the release into `uname -v`, Ubuntu into /proc/version_signature
 * (https://ubuntu.com/kernel, "Identifying a kernel"); Red Hat nowhere. Pure.
 */

export interface KernelNames {
  /** `uname -r` */
  readonly release: string;
  /** `uname -v` */
  readonly version?: string;
  /** /proc/version_signature */
  readonly signature?: string;
}

/** "6.1.0-28-amd64 (Debian 6.1.119-1)"; the name alone where the system says no more. */
export function kernelText({ release, version = '', signature = '' }: KernelNames): string {
  const debian = /\bDebian (\d+\.\d+\.\d+\S*)/.exec(version)?.[1];
  if (debian !== undefined) return `${release} (Debian ${debian})`;
  const ubuntu = /^Ubuntu \S+ (\d+\.\d+\.\d+)\s*$/.exec(signature)?.[1];
  return ubuntu === undefined ? release : `${release} (Ubuntu ${ubuntu})`;
}

export interface KernelRelease {
  /** "6.1.119", "6.8.0-rc1" */
  readonly release: string;
  /** False: only the branch is known, its last number tells nothing. */
  readonly isExact: boolean;
  readonly isOfDistribution: boolean;
}

/** "6.1.0-28-amd64", "5.14.0-611.el9.x86_64", "6.8.0-45-generic", "6.4.0-150600.23.47-default": the .0 is no patch level. */
const ONLY_THE_BRANCH = /^\d+\.\d+\.0-\d/;
const OF_DISTRIBUTION = /[+]deb\d|\.el\d|\.fc\d|\.amzn|\.azl|\.cm\d|-arch\d|-pve|-linuxkit/;

/** Of what `kernelText` gives; undefined for what is no kernel version. */
export function kernelRelease(text: string): KernelRelease | undefined {
  const told = /\((?:Debian|Ubuntu) (\d+\.\d+\.\d+)/.exec(text)?.[1];
  if (told !== undefined) return { release: told, isExact: true, isOfDistribution: true };
  const own = /^(\d+)\.(\d+)(?:\.(\d+))?(?:-(rc\d+))?/.exec(text.trim());
  if (own === null) return undefined;
  const [, major, minor, patch = '0', candidate] = own;
  const isExact = !ONLY_THE_BRANCH.test(text.trim());
  const release = `${major}.${minor}.${patch}${candidate === undefined ? '' : `-${candidate}`}`;
  return { release, isExact, isOfDistribution: !isExact || OF_DISTRIBUTION.test(text) };
}
