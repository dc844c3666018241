/**
 * The jail of a worker: how its command line is built, and whether this machine lets us build one (design 5.2). The
 * worker is confined before its first line runs: own user, net, pid, mount, ipc and uts namespace, a read-only root,
 * no capability, no-new-privileges, a system call filter, no core, no file writes, few descriptors, lower priority,
 * empty environment.
 *
 * The order of the steps matters: the uid is taken before the user namespace (afterwards it could not be), the
 * bounding set is dropped inside the root (before chroot, chroot would be refused), the death signal is set after the
 * uid (a change of uid clears it), and processes are counted inside the user namespace (outside, all of the user's are).
 */
import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '@flowops/proto/errors.ts';
import { filterLoader, isFilterArch } from './filter-loader.ts';
import { isolatedVmFiles } from './isolated-vm-files.ts';
import { type JailFile, prepareJailRoot } from './jail-root.ts';
import { lastWordsOf } from './last-words.ts';
import { openPrivateFolder } from './private-folder.ts';
import { keepUsed, pruneUnused } from './prune.ts';

const run = promisify(execFile);
/**
 * Uids that systemd's map of uids leaves to nobody end at 2^31. One per worker, also of several hosts on one machine
 * (as far as their pids differ), so that no two workers share a uid, its process count or its signals.
 */
const FIRST_WORKER_UID = 1_879_048_192;
const UIDS_OF_A_HOST = 256;
const HOSTS_WITH_UIDS = 1_048_576;
/** Few, but enough for node's own and one socket. */
const MAX_DESCRIPTORS = 64;
/** Threads of node and of isolated-vm are about 20; a fork bomb ends here. */
const MAX_PROCESSES = 256;
const NICE = 10;
const FILTER_IN_ROOT = '/filter';
/** Building namespaces takes 25 ms; a machine that needs longer than this is not usable anyway. */
const PROBE_TIMEOUT_MS = 10_000;
const TOOLS = ['sh', 'prlimit', 'nice', 'setpriv', 'unshare', 'chroot', 'mount'] as const;
const TOOL_FOLDERS = ['/usr/bin', '/bin', '/usr/sbin', '/sbin'];

/**
 * Joins the cgroups ($1, one a line) as the host's own user, then becomes the rest of the line. Each worker is a session
 * of its own, so that no signal to its process group reaches the host; where the kernel schedules by session, the
 * session has to be nice too. Of what has too little memory, a worker is to go first.
 */
const ENTER_CGROUP =
  `for procs in $1; do echo $$ > "$procs" || exit 97; done; shift; { echo ${NICE} > /proc/self/autogroup; ` +
  'echo 900 > /proc/self/oom_score_adj; } 2>/dev/null; exec "$@"';
/** Inside the new mount namespace: the root becomes a read-only mount and then everything there is. */
const ENTER_ROOT =
  'prlimit=$1 chroot=$2 mount=$3 root=$4; shift 4; "$mount" --bind "$root" "$root" && ' +
  '"$mount" -o remount,bind,ro,nosuid,nodev "$root" && ' +
  `exec "$prlimit" --nproc=${MAX_PROCESSES} "$chroot" "$root" "$@"`;

/** What node is told in every worker: no inspector by signal, isolated-vm's need, no writes, no child processes. */
const NODE_FLAGS = ['--disable-sigusr1', '--no-node-snapshot'];
const JAILED_NODE_FLAGS = [
  ...NODE_FLAGS,
  '--permission',
  '--allow-addons',
  '--allow-fs-read=*',
  '--disable-warning=SecurityWarning',
];

export interface WorkerCommand {
  readonly file: string;
  readonly args: readonly string[];
  /** The worker is the only child of the process we start (`unshare`), and the first of its pid namespace. */
  readonly isJailed: boolean;
}

export interface Jail {
  /** @param slot tells workers apart; no two that live at one time share it. */
  command(slot: number, cgroupProcsFiles: readonly string[]): WorkerCommand;
  /** Undefined when an empty command can be jailed here, else what the system answered. */
  probe(): Promise<string | undefined>;
  /** The host's uid where workers have another one. */
  readonly foreignUid: number | undefined;
  /** Why its workers run without a system call filter; undefined when they have one. */
  readonly filterProblem: string | undefined;
  /** The folder of the host that is the root of every worker. */
  readonly root: string;
  close(): Promise<void>;
}

export type JailResult = { readonly ok: true; readonly jail: Jail } | { readonly ok: false; readonly problem: string };

export interface WorkerFiles {
  /** The worker, bundled into one file; only isolated-vm is found beside it. */
  readonly entry: string;
  /** What else a jailed worker finds; tests put native code there. */
  readonly beside?: readonly JailFile[];
}

/** Prepares the root. That namespaces are refused shows at `probe` or when the first worker starts. */
export async function openJail(files: WorkerFiles): Promise<JailResult> {
  if (process.platform !== 'linux') return { ok: false, problem: `${process.platform} has no namespaces` };
  const tools = findTools();
  if (!tools.ok) return tools;
  const { sh, prlimit, nice, setpriv, unshare, chroot, mount } = tools.paths;
  const addon = isolatedVmFiles();
  const filter = await prepareFilter(setpriv);
  const prepared = await prepareJailRoot({
    files: [
      { source: process.execPath, target: '/node' },
      { source: setpriv, target: '/setpriv' },
      ...addon.files.map(({ source, name }) => ({ source, target: path.join('/app/node_modules', name) })),
      { source: files.entry, target: `/app/${path.basename(files.entry)}` },
      ...(filter.ok ? [{ source: filter.file, target: FILTER_IN_ROOT, identity: 'named by its content' }] : []),
      ...(files.beside ?? []),
    ],
    binaries: [process.execPath, setpriv, ...addon.binaries],
  });
  if (!prepared.ok) return { ok: false, problem: `the worker's root folder could not be made: ${prepared.problem}` };
  const folder = path.dirname(prepared.root);
  const inUse = [
    prepared.root,
    `${prepared.root}.json`,
    filter.ok ? filter.file : '',
    path.dirname(path.dirname(files.entry)),
  ];
  const release = keepUsed(
    folder,
    inUse.filter((place) => path.dirname(place) === folder).map((place) => path.basename(place)),
  );
  pruneUnused(folder, Date.now());
  const isRoot = process.getuid?.() === 0 && hasUid(workerUid(0));

  const wrap = (slot: number, procsFiles: readonly string[], inner: readonly string[]): string[] => {
    const uid = String(workerUid(slot));
    return [
      ...['-c', ENTER_CGROUP, 'sh', procsFiles.join('\n')],
      ...[prlimit, '--core=0', '--fsize=0', `--nofile=${MAX_DESCRIPTORS}`],
      ...[nice, '-n', String(NICE)],
      ...[setpriv, ...(isRoot ? [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'] : []), '--pdeathsig=KILL'],
      ...[
        unshare,
        '--user',
        '--map-root-user',
        '--net',
        '--ipc',
        '--uts',
        '--mount',
        '--pid',
        '--fork',
        '--kill-child',
      ],
      ...[sh, '-c', ENTER_ROOT, 'sh', prlimit, chroot, mount, prepared.root],
      ...['/setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs'],
      ...(filter.ok ? [FILTER_IN_ROOT] : []),
      ...inner,
    ];
  };
  return {
    ok: true,
    jail: {
      foreignUid: isRoot ? 0 : undefined,
      filterProblem: filter.ok ? undefined : filter.problem,
      root: prepared.root,
      command: (slot, procsFiles) => ({
        file: sh,
        args: wrap(slot, procsFiles, ['/node', ...JAILED_NODE_FLAGS, `/app/${path.basename(files.entry)}`]),
        isJailed: true,
      }),
      probe: async () => {
        try {
          await run(sh, wrap(0, [], ['/setpriv', '--version']), {
            env: {},
            cwd: '/',
            timeout: PROBE_TIMEOUT_MS,
          });
          return undefined;
        } catch (thrown) {
          return problemOf(thrown);
        }
      },
      close: async () => {
        release();
        await prepared.dispose();
      },
    },
  };
}

type Filter = { readonly ok: true; readonly file: string } | { readonly ok: false; readonly problem: string };

/** Writes the loader of the system call filter, and tries it: a kernel may have no seccomp. Never throws. */
async function prepareFilter(setpriv: string): Promise<Filter> {
  if (!isFilterArch(process.arch)) return { ok: false, problem: `no system call filter for ${process.arch}` };
  try {
    const { folder } = await openPrivateFolder();
    const bytes = filterLoader(process.arch);
    const file = path.join(folder, `filter-${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`);
    if (!existsSync(file)) {
      const temporary = `${file}.${randomUUID()}.tmp`;
      await writeFile(temporary, bytes, { mode: 0o755 });
      await rename(temporary, file);
    }
    await run(setpriv, ['--no-new-privs', file, setpriv, '--version'], { env: {}, timeout: PROBE_TIMEOUT_MS });
    return { ok: true, file };
  } catch (thrown) {
    return { ok: false, problem: problemOf(thrown) };
  }
}

/** @param slot below UIDS_OF_A_HOST, as SANDBOX_WORKERS is. */
function workerUid(slot: number): number {
  return FIRST_WORKER_UID + (process.pid % HOSTS_WITH_UIDS) * UIDS_OF_A_HOST + (slot % UIDS_OF_A_HOST);
}

/** Root of a container without further uids can take no other one; its workers are then confined by the rest. */
function hasUid(uid: number): boolean {
  const ranges = readFileSync('/proc/self/uid_map', 'utf8').trim().split('\n');
  return ranges.some((range) => {
    const [first = 0, , count = 0] = range.trim().split(/\s+/).map(Number);
    return uid >= first && uid < first + count;
  });
}

/** A worker without a jail: only for rules that give `jail: none`. */
export function bareCommand(files: WorkerFiles): WorkerCommand {
  return { file: process.execPath, args: [...NODE_FLAGS, files.entry], isJailed: false };
}

type Tools = Record<(typeof TOOLS)[number], string>;

function findTools(): { ok: true; paths: Tools } | { ok: false; problem: string } {
  const find = (tool: string) => TOOL_FOLDERS.map((folder) => path.join(folder, tool)).find((file) => existsSync(file));
  const missing = TOOLS.find((tool) => find(tool) === undefined);
  if (missing !== undefined) return { ok: false, problem: `${missing} is not installed (package util-linux)` };
  const at = (tool: (typeof TOOLS)[number]): string => find(tool) ?? tool;
  const paths = {
    sh: at('sh'),
    prlimit: at('prlimit'),
    nice: at('nice'),
    setpriv: at('setpriv'),
    unshare: at('unshare'),
    chroot: at('chroot'),
    mount: at('mount'),
  };
  return { ok: true, paths };
}

/** What a tool of the chain wrote, without our paths. */
function problemOf(thrown: unknown): string {
  const stderr = thrown instanceof Error && 'stderr' in thrown ? String(thrown.stderr) : '';
  const said = lastWordsOf(stderr) || messageOf(thrown).split('\n')[0] || 'unknown';
  return said.replaceAll(/\/[\w./-]+\/(?=[\w.-]+)/g, '').slice(0, 300);
}
