/**
 * Published ways out of a container or an isolate's process, by the part that has them and the versions that mended
 * them. Data only; known-holes.ts says which of them a machine has.
 *
 * Versions were compared in November 2026 with the sources named by `sourced`; whoever adds an entry does the same and
 * writes none from memory. Not listed, on purpose: what only ends or slows a daemon; what needs Kubernetes' interface
 * (CRI) or images of strangers, which no host of ours has, but for the entries where it helps to say so; CVE-2026-43500
 * (RxRPC, the other half of "Dirty Frag"), whose record names no fix for most branches; Node's security releases whose
 * advisories were not at hand (24.18.1 of July 2026).
 */

export type Part = 'runc' | 'containerd' | 'docker' | 'kernel' | 'runsc' | 'node';

export interface KnownHole {
  readonly id: string;
  readonly part: Part;
  /** What an attacker gets, one clause. */
  readonly what: string;
  /** First version with it; absent: all before the fixes. */
  readonly introduced?: string;
  /** One for each branch that was repaired; later branches never had it. */
  readonly fixed: readonly string[];
  /**
   * Present: it is named and not held against a policy (`strictRuntimes`), since what it needs is nothing that guest
   * code has here. One clause that says what.
   */
  readonly excepted?: string;
  /** Beside an update: what closes it. */
  readonly instead?: string;
  readonly advisory: string;
  /**
   * Where `introduced` and `fixed` come from: the project's own advisory or release notes; the CVE record of its
   * assigner; the ranges that NVD gives; the mails of the stable kernel's review; or only what others tell of it.
   */
  readonly sourced: 'advisory' | 'cve record' | 'nvd' | 'nvd and stable review' | 'second hand';
}

const RUNC = 'https://github.com/opencontainers/runc/security/advisories';
const MOBY = 'https://github.com/moby/moby/security/advisories';
const CONTAINERD = 'https://github.com/containerd/containerd/security/advisories';
const NVD = 'https://nvd.nist.gov/vuln/detail';

export const KNOWN_HOLES: readonly KnownHole[] = [
  {
    id: 'CVE-2019-5736',
    part: 'runc',
    what: 'root of a container can overwrite the runc of its host',
    fixed: ['1.0.0-rc7'],
    excepted: 'it takes root in the container or an image of the attacker; steps run as uid 65532 from your image',
    advisory: `${NVD}/CVE-2019-5736`, // "runc through 1.0-rc6"
    sourced: 'cve record',
  },
  {
    id: 'CVE-2021-30465',
    part: 'runc',
    what: 'a symlink swapped during a mount puts the root folder of the host into a container',
    fixed: ['1.0.0-rc95'],
    excepted: 'it takes mounts that several containers share; step containers have none',
    advisory: `${RUNC}/GHSA-c3xm-pvg7-gh7r`,
    sourced: 'advisory',
  },
  {
    id: 'CVE-2024-21626',
    part: 'runc',
    what: 'a descriptor of a host folder leaks into the container ("Leaky Vessels")',
    introduced: '1.0.0-rc93',
    fixed: ['1.1.12'], // the first 1.2.0-rc came two months later and has it
    advisory: `${RUNC}/GHSA-xr7r-f8xq-vfvv`,
    sourced: 'advisory',
  },
  {
    id: 'CVE-2025-31133',
    part: 'runc',
    what: 'a race in masked paths lets a container write to files of the host under /proc',
    fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
    instead: 'user namespaces (userns-remap) and a user other than root lessen it',
    advisory: `${RUNC}/GHSA-9493-h29p-rfm2`,
    sourced: 'advisory',
  },
  {
    id: 'CVE-2025-52565',
    part: 'runc',
    what: 'a race in the mount of /dev/console comes before paths are masked',
    introduced: '1.0.0-rc3',
    fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
    excepted: 'it takes a container with a terminal; step containers have none',
    advisory: `${RUNC}/GHSA-qw9x-cqr3-wc7r`,
    sourced: 'advisory',
  },
  {
    id: 'CVE-2025-52881',
    part: 'runc',
    what: 'writes of runc to /proc can be led elsewhere, past AppArmor and SELinux',
    fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
    advisory: `${RUNC}/GHSA-cgrx-mc8f-2prm`,
    sourced: 'advisory',
  },
  {
    id: 'CVE-2026-41579',
    part: 'runc',
    what: 'an image whose /dev is a symlink has runc write to the host',
    fixed: ['1.3.6', '1.4.3', '1.5.0-rc.3'],
    excepted: 'it takes an image of the attacker, and Docker is told to be safe from it',
    advisory: `${RUNC}/GHSA-xjvp-4fhw-gc47`,
    sourced: 'second hand',
  },
  {
    id: 'CVE-2020-15257',
    part: 'containerd',
    what: 'root of a container with the network of the host reaches the control socket of containerd',
    fixed: ['1.3.9', '1.4.3'],
    excepted: 'step containers have no network and no root',
    advisory: `${CONTAINERD}/GHSA-36xw-fx78-c5r4`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2022-23648',
    part: 'containerd',
    what: 'a crafted image reads files of the host',
    fixed: ['1.4.13', '1.5.10', '1.6.1'],
    excepted: 'it takes an image of the attacker, started by Kubernetes (CRI); Docker goes another way',
    advisory: `${CONTAINERD}/GHSA-crp2-qrr5-8pq7`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2019-14271',
    part: 'docker',
    what: '`docker cp` runs code of the container as root of the host',
    introduced: '19.3.0',
    fixed: ['19.3.1'],
    instead: 'never `docker cp` out of a step container',
    advisory: `${NVD}/CVE-2019-14271`, // "19.03.x before 19.03.1"
    sourced: 'cve record',
  },
  {
    id: 'CVE-2021-41091',
    part: 'docker',
    what: 'users of the host can run programs with setuid out of the folders of containers',
    fixed: ['20.10.9'],
    excepted: 'it takes an account on the host',
    advisory: `${MOBY}/GHSA-3fwx-pjgw-3558`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2026-34040',
    part: 'docker',
    what: 'a large request passes by authorization plugins (as an empty one did with CVE-2024-41110)',
    fixed: ['29.3.1'],
    excepted: 'it takes access to the Docker socket; step containers have none',
    advisory: `${MOBY}/GHSA-x744-4wpc-v9h2`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2026-41567',
    part: 'docker',
    what: 'a compressed archive copied into a container is unpacked by programs of the container as root of the host',
    fixed: ['29.5.1'],
    excepted: 'it takes an image of the attacker; the root of step containers is yours and read-only',
    advisory: `${MOBY}/GHSA-x86f-5xw2-fm2r`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2026-41568',
    part: 'docker',
    what: 'a container can have `docker cp` make empty files anywhere on the host',
    fixed: ['29.5.1'],
    instead: 'never `docker cp` into or out of a step container',
    advisory: `${MOBY}/GHSA-vp62-88p7-qqf5`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2026-42306',
    part: 'docker',
    what: 'a container can have `docker cp` mount a volume over folders of the host',
    fixed: ['29.5.1'],
    excepted: 'containers without volumes are not affected, says the advisory; step containers have none',
    advisory: `${MOBY}/GHSA-rg2x-37c3-w2rh`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2022-0185',
    part: 'kernel',
    what: 'an overflow in fsconfig leads from a container to the kernel',
    introduced: '5.1.0',
    fixed: ['5.4.173', '5.10.93', '5.15.16', '5.16.2'],
    instead: 'neither a step container nor a jailed worker may call unshare or fsconfig (seccomp)',
    advisory: `${NVD}/CVE-2022-0185`,
    sourced: 'nvd',
  },
  {
    id: 'CVE-2022-0492',
    part: 'kernel',
    what: 'release_agent of cgroup v1 runs a program of the container on the host',
    introduced: '2.6.24',
    fixed: ['4.9.301', '4.14.266', '4.19.229', '5.4.177', '5.10.97', '5.15.20', '5.16.6'],
    instead: 'neither a step container nor a jailed worker may call unshare or mount (seccomp)',
    advisory: `${NVD}/CVE-2022-0492`,
    sourced: 'nvd',
  },
  {
    id: 'CVE-2022-0847',
    part: 'kernel',
    what: 'files that can only be read can be overwritten ("Dirty Pipe")',
    introduced: '5.8.0',
    fixed: ['5.10.102', '5.15.25', '5.16.11'],
    advisory: `${NVD}/CVE-2022-0847`,
    sourced: 'nvd',
  },
  {
    id: 'CVE-2024-1086',
    part: 'kernel',
    what: 'a use after free in nf_tables gives root to whoever may make a user and network namespace',
    introduced: '3.15.0',
    // NVD names 5.15 and later; the mends of 5.4 and 5.10 are those of the review of 21 February 2024.
    fixed: ['5.4.269', '5.10.210', '5.15.149', '6.1.76', '6.6.15', '6.7.3'],
    instead: 'neither a step container nor a jailed worker may call unshare or open netlink sockets (seccomp)',
    advisory: `${NVD}/CVE-2024-1086`,
    sourced: 'nvd and stable review',
  },
  {
    id: 'CVE-2026-31431',
    part: 'kernel',
    what: 'AF_ALG sockets write into the page cache of files that can only be read ("Copy Fail")',
    introduced: '4.14.0',
    fixed: ['5.10.254', '5.15.204', '6.1.170', '6.6.137', '6.12.85', '6.18.22', '6.19.12'],
    instead:
      'neither a step container nor a jailed worker may open AF_ALG sockets (seccomp); elsewhere, keep algif_aead from being loaded',
    advisory: `${NVD}/CVE-2026-31431`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2026-43284',
    part: 'kernel',
    what: 'IPsec decrypts into the page cache of files that can only be read ("Dirty Frag")',
    introduced: '4.11.0',
    // Two steps for 5.15 and 6.1: the second counts.
    fixed: ['5.10.255', '5.15.206', '6.1.172', '6.6.138', '6.12.87', '6.18.28', '7.0.5'],
    instead:
      'neither a step container nor a jailed worker may call unshare or open UDP sockets (seccomp); elsewhere, keep esp4 and esp6 from being loaded',
    advisory: `${NVD}/CVE-2026-43284`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2018-16359',
    part: 'runsc',
    what: 'a container can rename files of its host',
    fixed: ['20180823.0.0'], // "before 2018-08-23": older than the first tagged release
    advisory: `${NVD}/CVE-2018-16359`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2025-2713',
    part: 'runsc',
    what: 'runsc opens files with more rights than its user has until its first fork',
    fixed: ['20250319.0.0'],
    excepted: 'it takes an account on the host that may start runsc',
    advisory: `${NVD}/CVE-2025-2713`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2025-55130',
    part: 'node',
    what: 'symlinks lead past --allow-fs-read and --allow-fs-write',
    fixed: ['20.20.0', '22.22.0', '24.13.0', '25.3.0'],
    excepted: 'workers are held by namespaces and a read-only root; --permission is only the second fence',
    advisory: `${NVD}/CVE-2025-55130`,
    sourced: 'cve record',
  },
  {
    id: 'CVE-2026-48617',
    part: 'node',
    what: 'process.report writes past --permission',
    fixed: ['22.23.0', '24.17.0', '26.3.1'],
    excepted: 'workers are held by namespaces and a read-only root; --permission is only the second fence',
    advisory: 'https://nodejs.org/en/blog/vulnerability/june-2026-security-releases',
    sourced: 'second hand',
  },
];
