/**
 * The seccomp profile of a step container on runc, as Docker takes it (`seccomp=<json>`): an allow-list of what the
 * init and Node need. gVisor takes no profile; it answers system calls itself.
 *
 * Whatever is not named here is refused with EPERM. So are, on purpose:
 *   - other processes' memory: ptrace, process_vm_*, pidfd_getfd, kcmp;
 *   - running what was written, past noexec: memfd_*;
 *   - ways around a filter and large parts of the kernel: io_uring_*, bpf, perf_event_open, userfaultfd, keyctl and its
 *     like, namespaces, mounts, modules, clocks, SysV and POSIX message queues;
 *   - PID 1's chances, which has the same uid: priorities, affinities, other processes' limits;
 *   - sockets that are not AF_UNIX: AF_ALG, AF_VSOCK, AF_NETLINK and AF_PACKET reach the kernel even without a network.
 * `clone3` answers ENOSYS, since its flags lie in memory where no filter can look: libc then takes `clone`, whose flags
 * are looked at.
 *
 * Only the machine's own 64-bit calls: a call by another numbering (i386, x32, 32-bit ARM) ends its process.
 */
import { constants } from 'node:os';

const ALLOW = 'SCMP_ACT_ALLOW';
const REFUSE = 'SCMP_ACT_ERRNO';

const AF_UNIX = 1;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of linux/sched.h. */
const NAMESPACE_FLAGS = 0x7e020000;
/** TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX of asm-generic/ioctls.h: all that libuv asks of a descriptor. */
const IOCTLS = [0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451];

/** A name that a machine's kernel or libseccomp does not know is passed over by Docker. */
const CALLS: Readonly<Record<string, string>> = {
  files:
    'access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 ' +
    'fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr ' +
    'fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr lchown lgetxattr link linkat ' +
    'listxattr llistxattr lremovexattr lseek lsetxattr lstat mkdir mkdirat newfstatat open openat openat2 readlink ' +
    'readlinkat removexattr rename renameat renameat2 rmdir setxattr stat statfs statx symlink symlinkat sync_file_range ' +
    'syncfs truncate umask unlink unlinkat utime utimensat utimes inotify_add_watch inotify_init inotify_init1 ' +
    'inotify_rm_watch',
  'reading and writing':
    'pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile splice tee vmsplice write writev pipe ' +
    'pipe2',
  waiting:
    'epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 poll ppoll pselect6 select ' +
    'signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime',
  'sockets, which are AF_UNIX by what makes them':
    'accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg ' +
    'sendto setsockopt shutdown',
  memory:
    'brk madvise membarrier mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap pkey_alloc ' +
    'pkey_free pkey_mprotect get_mempolicy',
  'processes and threads':
    'arch_prctl capget execve execveat exit exit_group fork futex futex_waitv get_robust_list get_thread_area getcpu getegid ' +
    'geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid ' +
    'gettid getuid kill pidfd_open pidfd_send_signal prctl rseq rt_sigaction rt_sigpending rt_sigprocmask ' +
    'rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max ' +
    'sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval ' +
    'sched_yield set_robust_list set_tid_address setpgid setrlimit setsid sigaltstack sysinfo ' +
    'tgkill times tkill uname vfork wait4 waitid restart_syscall',
  time:
    'alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep pause setitimer time timer_create ' +
    'timer_delete timer_getoverrun timer_gettime timer_settime getrandom',
};

interface Argument {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: 'SCMP_CMP_EQ' | 'SCMP_CMP_MASKED_EQ';
}

interface Rule {
  readonly names: readonly string[];
  readonly action: typeof ALLOW | typeof REFUSE;
  readonly args?: readonly Argument[];
  readonly errnoRet?: number;
  /** For whoever reads the JSON; Docker ignores it. */
  readonly comment: string;
}

const allowed: readonly Rule[] = Object.entries(CALLS).map(([comment, names]) => ({
  names: names.split(' '),
  action: ALLOW,
  comment,
}));

const conditional: readonly Rule[] = [
  {
    names: ['clone'],
    action: ALLOW,
    args: [{ index: 0, value: NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    comment: 'no new namespaces',
  },
  {
    names: ['clone3'],
    action: REFUSE,
    errnoRet: constants.errno.ENOSYS,
    comment: 'its flags cannot be filtered; libc falls back to clone',
  },
  {
    names: ['socket', 'socketpair'],
    action: ALLOW,
    args: [{ index: 0, value: AF_UNIX, op: 'SCMP_CMP_EQ' }],
    comment: 'AF_UNIX only',
  },
  {
    names: ['prlimit64'],
    action: ALLOW,
    args: [{ index: 0, value: 0, op: 'SCMP_CMP_EQ' }],
    comment: 'its own limits, not those of PID 1',
  },
  ...IOCTLS.map(
    (request): Rule => ({
      names: ['ioctl'],
      action: ALLOW,
      args: [{ index: 1, value: request, op: 'SCMP_CMP_EQ' }],
      comment: 'what libuv asks of a descriptor',
    }),
  ),
];

export const SECCOMP_PROFILE = {
  defaultAction: REFUSE,
  archMap: [
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: [] },
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: [] },
  ],
  syscalls: [...allowed, ...conditional],
} as const;

/** As SecurityOpt takes it: `seccomp=${SECCOMP_PROFILE_JSON}`. */
export const SECCOMP_PROFILE_JSON = JSON.stringify(SECCOMP_PROFILE);
