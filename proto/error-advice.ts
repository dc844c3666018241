/**
 * What is behind an error code, and what to do: for whoever is called at night. Only the reference page is made from it
 * (`npm run docs`); nothing at run time reads it, so that no bundle carries it.
 */
import type { ErrorCode } from './errors.ts';

export interface Advice {
  /** What happened, as far as the message or the receipt tells it apart. */
  readonly cause: string;
  readonly action: string;
}

const TRY_ALONE = '`flowops sandbox run PLUGIN --policy FILE` runs it alone and shows its receipt against the limits';

export const ERROR_ADVICE: Readonly<Record<ErrorCode, readonly Advice[]>> = {
  PLUGIN_ERROR: [
    {
      cause:
        'The plugin threw, rejected, or told of a host call that failed ("… could not be reached", "… gave no answer").',
      action:
        "Read the message and the step's log. A failed host call is the other side's: once it is back, start the flow again. Else the plugin's author mends it.",
    },
    {
      cause: '"… is not defined" or "… is not a function" for something of Node (`process`, `Buffer`, `require`).',
      action:
        'The plugin was written for Node. Its author builds it without that, or with `runtime: "node"`, which only the container tier runs.',
    },
  ],
  PLUGIN_FATAL: [
    {
      cause: 'The plugin threw a TaskError with `retryable: false`: it says itself that another try cannot help.',
      action: 'Read its message; most often an input or an account is wrong. Mend that, then start the flow again.',
    },
  ],
  PLUGIN_NOT_FOUND: [
    {
      cause: 'The pluginId of the flow is not published, or not in the version that is asked for.',
      action:
        'Compare the id letter by letter (`flowops plugin inspect FILE` shows name and version), and publish it with `flowops plugin publish`; the engine asks the service at PLUGIN_SERVICE_ADDRESS, `flowops run` the folder of `--plugins`.',
    },
    {
      cause: '"… has no release that is not withdrawn": all of them were withdrawn, or there are pre-releases only.',
      action:
        'Name a version with `pluginVersion`, publish a new one, or put one back: `flowops plugin withdraw ID VERSION --registry HOST:PORT --restore`.',
    },
    {
      cause:
        'A run that goes on after a restart pinned bytes that neither the plugin service nor the cache has any more.',
      action:
        'Publish those bytes again (the digest is in the message), or start the flow anew with what is published.',
    },
  ],
  PLUGIN_INVALID: [
    {
      cause: '"the bundle …": the bytes have no manifest line, are cut off, too large, or not the ones of the digest.',
      action:
        'Build and publish it again. Where the digest differs, find out who changed the bytes on their way first.',
    },
    {
      cause:
        'The manifest and the code say different things, or the name and version are not those that were asked for.',
      action: 'Build with this version of the SDK and publish what was built, without touching the file.',
    },
    {
      cause: '"… is published with other bytes", "… is taken": nothing was published.',
      action:
        'Raise the version; where the id belongs to another plugin, give yours a name of its own ([publishing.md](publishing.md)).',
    },
    {
      cause: 'The manifest asks for a permission that cannot be granted as it is written.',
      action: 'The author writes `host:port` or `private:host:port` in lower case, and builds again.',
    },
  ],
  INPUT_INVALID: [
    {
      cause:
        'A required input is missing, or a value does not fit its declared type (a reference to an output that is text, say).',
      action:
        "Mend the flow's `inputs` or what the run was started with; `flowops validate FLOW` finds most of it beforehand.",
    },
  ],
  OUTPUT_INVALID: [
    {
      cause: 'The plugin returned a value that is no JSON (a cycle, a BigInt, a function) or not of the declared type.',
      action: "The author mends it; the message names the output. Declaring `type: 'json'` takes any JSON.",
    },
  ],
  LIMIT_WALL: [
    {
      cause:
        "The step waited too long for something outside, or the flow's `config.timeoutMs` is shorter than it needs.",
      action:
        'Look in the receipt: little CPU means waiting. Raise `timeoutMs` in the flow, then `limits.wallMs` in the rule that the message names; the shorter of the two counts.',
    },
    {
      cause: 'It computed all that time.',
      action: 'See LIMIT_CPU.',
    },
  ],
  LIMIT_CPU: [
    {
      cause: 'An endless loop, a catastrophic regular expression, or honest work that is larger than the limit.',
      action: `${TRY_ALONE}. Honest work: raise \`limits.cpuMs\` (and \`wallMs\`) in the rule that the message names.`,
    },
  ],
  LIMIT_MEMORY: [
    {
      cause: 'The heap, buffers, or what was written to /tmp together were larger than `limits.memoryMb`.',
      action: `${TRY_ALONE}. Let it read in pieces, or raise \`limits.memoryMb\`. A plugin that takes its worker down again and again belongs in a container: \`onViolation: { demote: 3 }\`.`,
    },
  ],
  LIMIT_OUTPUT: [
    {
      cause: 'The outputs are larger than `limits.outputBytes`, counted as JSON.',
      action:
        'Pass a reference (a URL, a key) instead of the data, or raise `limits.outputBytes`; more than 15 MiB cannot be had.',
    },
  ],
  LIMIT_LOG: [
    {
      cause: 'The step went on logging far beyond `limits.logBytes`; up to there lines are only dropped and counted.',
      action: 'It logs in a loop: mend the plugin. Raising `limits.logBytes` keeps more lines and hardly helps here.',
    },
  ],
  LIMIT_HOST_CALLS: [
    {
      cause: 'The step made more calls (fetch, secret) than `limits.hostCalls`.',
      action: 'Ask for a secret once and keep it, fetch pages instead of single entries, or raise `limits.hostCalls`.',
    },
    {
      cause: '"sent and received more than … bytes in one step": the fixed bound of network traffic.',
      action: 'No setting raises it. Split the work over several steps.',
    },
  ],
  POLICY_DENIED: [
    {
      cause: '"… grants no network", "… grants … only": it asked for a host or a secret that its rule does not give.',
      action:
        'The message ends with the line to add to the rule at that place. Add it if the plugin should have it; the host reads the file again by itself, then start the flow again.',
    },
    {
      cause: '"a private address", "where a cloud gives the credentials …": the place is inside your network.',
      action:
        'Do not paste without a thought: a stranger may be looking for a way in. Only a grant written `private:host:port` opens it ([network-and-secrets.md](network-and-secrets.md)).',
    },
    {
      cause: '"is denied by rule …", "is revoked by …", "is older than …".',
      action: 'Somebody took it back on purpose; the reason is in the message. Publish and run a newer version.',
    },
    {
      cause: '"It counts as unsigned: …": a signature came with it and does not count.',
      action:
        'The message says why: changed bytes, an unknown or revoked key, a key past its day, a name outside its publisher. Sign again, or mend `publishers` ([signing.md](signing.md)).',
    },
    {
      cause: '"calls itself …, but it was … when it was first used here".',
      action:
        'Another plugin under a known id. If that is right: `flowops policy pins --agree ID=NAME`; if not, find out who published it.',
    },
    {
      cause: '"was demoted to the container tier after … violations".',
      action: 'It broke its limits too often. Mend it, then `flowops policy demotions --lift NAME`.',
    },
    {
      cause: '"strictRuntimes allows none: … has a known hole".',
      action:
        'Update the part that is named; `flowops sandbox doctor` lists them all ([sandbox-doctor.md](sandbox-doctor.md)).',
    },
    {
      cause: '"was granted the secret …, but …".',
      action:
        'Put the file into SECRETS_DIR, readable for the user of the sandbox host, or the line into the --env-file.',
    },
  ],
  SANDBOX_CRASHED: [
    {
      cause:
        'The plugin brought its process down: a V8 abort, `process.exit`, a fatal signal; or its sandbox stopped answering.',
      action: `${TRY_ALONE}. If it crashes there too, it is the plugin's. If not, look for an out-of-memory kill in the kernel's log of that time (\`dmesg\`).`,
    },
    {
      cause:
        '"the sandbox host died 3 times while this step ran": the step is in quarantine, and is given to no further host.',
      action:
        "Run the plugin alone as above. Where hosts die for a reason of their own (memory, a deployment), mend that and start the flow again: the host's log and the kernel's tell.",
    },
    {
      cause: 'It happens to many plugins of one machine.',
      action: 'It is the machine: run `flowops sandbox doctor` there, and look at its memory and disk.',
    },
  ],
  SANDBOX_UNAVAILABLE: [
    {
      cause: '"Docker does not answer": the daemon is down, or the host may not use its socket.',
      action:
        'Start Docker, or set DOCKER_HOST. Steps wait for a daemon that was there, and are tried again by themselves; nothing has to be started again unless the step failed already.',
    },
    {
      cause: 'The step image is not there.',
      action: '`npm run image` in the clone builds it; SANDBOX_IMAGE names it. It is never pulled.',
    },
    {
      cause: '"… requires a jailed sandbox, and this machine refuses one": no namespaces for isolate workers.',
      action:
        '`flowops sandbox doctor` says what the system refused (often `kernel.unprivileged_userns_clone` or AppArmor). Allow it, or give the host Docker and `npm run image -- worker`, or let the rule say `tier: container`; `jail: none` is for plugins of your own.',
    },
    {
      cause: 'No plugin service: "… cannot be reached", "… did not answer in time".',
      action: 'Start it, or mend PLUGIN_SERVICE_ADDRESS; `GET /health/ready` of the engine names what is missing.',
    },
    {
      cause: '"… times in a row; the infrastructure needs attention": the tries for faults of ours are used up.',
      action:
        "Mend the cause that stands before it, then start the flow again. None of the step's own retries were spent.",
    },
    {
      cause: '"the engine was lost", "has a newer owner".',
      action: 'Nothing: the engine that took the run over goes on with it.',
    },
  ],
  PROTOCOL_ERROR: [
    {
      cause:
        'A sandbox host, a worker or a container sent what the protocol does not have, or was cut off in the middle.',
      action:
        'It is tried again. If it stays: engine and sandbox host are of different versions (deploy the same), or the step image is an old one (`npm run image`). A single plugin that does it every time is attacking: deny it.',
    },
  ],
  CANCELLED: [
    {
      cause: 'Somebody stopped the run, or pressed Ctrl-C.',
      action: 'Nothing. `triggeredBy` of the outcome says who.',
    },
  ],
  FLOW_INVALID: [
    {
      cause: 'Unknown references, cycles, wrong ids, a condition that cannot be read.',
      action: '`flowops validate FLOW` tells all of it at once, with places.',
    },
  ],
  COMMAND_INVALID: [
    {
      cause: 'The value of a Kafka message or an HTTP body is not the JSON of a command, or names no run.',
      action:
        'Mend the producer. What cannot be read lies in `execution.commands.dlq`, its reason in the header `flowops-reason`.',
    },
  ],
  RUN_UNKNOWN: [
    {
      cause: 'The run ended longer ago than it is kept, or it never was: another Redis, another flowId.',
      action: 'Compare flowId and runId; look whether REDIS_URL is that of the engine that ran it.',
    },
  ],
  RUN_EXISTS: [
    {
      cause: 'A START with a runId that another flow definition used.',
      action: 'Take a new runId; the old run is untouched.',
    },
  ],
  RUN_FINAL: [
    { cause: 'The run had ended when the command came.', action: 'Nothing; to do it again, start a new run.' },
  ],
  USAGE_INVALID: [
    { cause: 'A wrong option or argument.', action: 'The message names it; `--help` lists what there is.' },
  ],
  CONFIG_INVALID: [
    {
      cause: 'A setting has a wrong value, or two do not go together.',
      action:
        'Every problem is told at once with the name of its setting; `flowops config` shows what is in force and from where.',
    },
    {
      cause: '"the sandbox policy is not valid: …".',
      action: '`flowops policy check FILE` tells file, line and key of each mistake ([policy.md](policy.md)).',
    },
  ],
};
