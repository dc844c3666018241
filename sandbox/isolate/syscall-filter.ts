/**
 * What a jailed worker may not ask of the kernel, as a seccomp program (classic BPF). It closes what namespaces, empty
 * capabilities and a read-only root leave open: AF_VSOCK (no namespace holds it), the session keyring, io_uring,
 * memory that counts for nobody (System V, memfd), other processes of the worker's own, new user namespaces. All else
 * is allowed: the worker is Node, whose needs change from release to release.
 *
 * https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html; numbers from the kernel's syscall tables.
 */

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;
const AF_UNIX = 1;
const CLONE_THREAD = 0x1_0000;
/** x32 calls have this bit and would pass a filter that compares numbers. */
const X32_BIT = 0x4000_0000;

const RET_ALLOW = 0x7fff_0000;
const RET_ERRNO = 0x0005_0000;
const RET_KILL_PROCESS = 0x8000_0000;
/** Offsets in struct seccomp_data; the low half of an argument on a little-endian machine. */
const AT_NUMBER = 0;
const AT_ARCH = 4;
const AT_FIRST_ARGUMENT = 16;

const LD_W_ABS = 0x20;
const JEQ = 0x15;
const JGE = 0x35;
const JSET = 0x45;
const RET = 0x06;

export type FilterArch = 'x64' | 'arm64';

const AUDIT_ARCH: Readonly<Record<FilterArch, number>> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };

/** Answered with EPERM. Name, number on x64, number on arm64; undefined where a machine has no such call. */
export const DENIED: readonly (readonly [name: string, x64: number | undefined, arm64: number | undefined])[] = [
  // namespaces and mounts
  ['unshare', 272, 97],
  ['setns', 308, 268],
  ['mount', 165, 40],
  ['umount2', 166, 39],
  ['pivot_root', 155, 41],
  ['chroot', 161, 51],
  ['open_tree', 428, 428],
  ['move_mount', 429, 429],
  ['fsopen', 430, 430],
  ['fsconfig', 431, 431],
  ['fsmount', 432, 432],
  ['fspick', 433, 433],
  ['mount_setattr', 442, 442],
  ['statmount', 457, 457],
  ['listmount', 458, 458],
  ['open_by_handle_at', 304, 265],
  ['name_to_handle_at', 303, 264],
  ['mknod', 133, undefined],
  ['mknodat', 259, 33],
  // other processes
  ['fork', 57, undefined],
  ['vfork', 58, undefined],
  ['ptrace', 101, 117],
  ['process_vm_readv', 310, 270],
  ['process_vm_writev', 311, 271],
  ['process_madvise', 440, 440],
  ['process_mrelease', 448, 448],
  ['pidfd_open', 434, 434],
  ['pidfd_getfd', 438, 438],
  ['pidfd_send_signal', 424, 424],
  ['kcmp', 312, 272],
  // keys of the host's session
  ['keyctl', 250, 219],
  ['add_key', 248, 217],
  ['request_key', 249, 218],
  // memory that no limit of ours counts
  ['memfd_create', 319, 279],
  ['memfd_secret', 447, 447],
  ['shmget', 29, 194],
  ['shmctl', 31, 195],
  ['shmat', 30, 196],
  ['msgget', 68, 186],
  ['msgsnd', 69, 189],
  ['semget', 64, 190],
  ['mq_open', 240, 180],
  // much code of the kernel that a worker does not need
  ['bpf', 321, 280],
  ['userfaultfd', 323, 282],
  ['perf_event_open', 298, 241],
  ['fanotify_init', 300, 262],
  ['vmsplice', 278, 75],
  ['move_pages', 279, 239],
  ['migrate_pages', 256, 238],
  ['modify_ldt', 154, undefined],
  ['personality', 135, 92],
  ['lookup_dcookie', 212, 18],
  // the machine as a whole
  ['quotactl', 179, 60],
  ['quotactl_fd', 443, 443],
  ['syslog', 103, 116],
  ['reboot', 169, 142],
  ['sethostname', 170, 161],
  ['setdomainname', 171, 162],
  ['settimeofday', 164, 170],
  ['clock_settime', 227, 112],
  ['clock_adjtime', 305, 266],
  ['adjtimex', 159, 171],
  ['swapon', 167, 224],
  ['swapoff', 168, 225],
  ['acct', 163, 89],
  ['init_module', 175, 105],
  ['finit_module', 313, 273],
  ['delete_module', 176, 106],
  ['kexec_load', 246, 104],
  ['kexec_file_load', 320, 294],
  ['iopl', 172, undefined],
  ['ioperm', 173, undefined],
];

/** Answered with ENOSYS, whereupon libraries use the older call: clone instead of clone3, epoll instead of io_uring. */
export const ABSENT: readonly (readonly [name: string, number: number])[] = [
  ['clone3', 435],
  ['io_uring_setup', 425],
  ['io_uring_enter', 426],
  ['io_uring_register', 427],
];

const CLONE: Readonly<Record<FilterArch, number>> = { x64: 56, arm64: 220 };
const SOCKET: Readonly<Record<FilterArch, number>> = { x64: 41, arm64: 198 };

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, value: number];

/** The program, as an array of `struct sock_filter`. */
export function filterProgram(arch: FilterArch): Buffer {
  const instructions: Instruction[] = [
    [LD_W_ABS, 0, 0, AT_ARCH],
    [JEQ, 1, 0, AUDIT_ARCH[arch]],
    [RET, 0, 0, RET_KILL_PROCESS],
    [LD_W_ABS, 0, 0, AT_NUMBER],
    ...(arch === 'x64' ? ([[JGE, 0, 1, X32_BIT], refuse(EPERM)] as const) : []),
    ...DENIED.flatMap(([, x64, arm64]) => unless(arch === 'x64' ? x64 : arm64, EPERM)),
    ...ABSENT.flatMap(([, number]) => unless(number, ENOSYS)),
    // A thread is allowed, a process is not.
    [JEQ, 0, 4, CLONE[arch]],
    [LD_W_ABS, 0, 0, AT_FIRST_ARGUMENT],
    [JSET, 1, 0, CLONE_THREAD],
    refuse(EPERM),
    [RET, 0, 0, RET_ALLOW],
    [JEQ, 0, 3, SOCKET[arch]],
    [LD_W_ABS, 0, 0, AT_FIRST_ARGUMENT],
    [JEQ, 1, 0, AF_UNIX],
    refuse(EAFNOSUPPORT),
    [RET, 0, 0, RET_ALLOW],
  ];
  const bytes = Buffer.alloc(instructions.length * 8);
  instructions.forEach(([code, jumpTrue, jumpFalse, value], index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jumpTrue, index * 8 + 2);
    bytes.writeUInt8(jumpFalse, index * 8 + 3);
    bytes.writeUInt32LE(value, index * 8 + 4);
  });
  return bytes;
}

function unless(number: number | undefined, errno: number): Instruction[] {
  return number === undefined ? [] : [[JEQ, 0, 1, number], refuse(errno)];
}

function refuse(errno: number): Instruction {
  return [RET, 0, 0, RET_ERRNO | errno];
}
