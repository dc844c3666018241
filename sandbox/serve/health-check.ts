/**
 * For an orchestrator: exit code 0 while a sandbox host listens on the first unix socket of SANDBOX_LISTEN. Over TLS a
 * check would need a certificate; an open port says as much.
 */
import { connect } from 'node:net';
import { readSandboxAddress } from '@flowops/proto/sandbox-address.ts';

const TIMEOUT_MS = 2_000;

const address = readSandboxAddress((process.env.SANDBOX_LISTEN ?? '').split(',')[0]?.trim() ?? '');
const socket = address.kind === 'unix' ? connect(address.path) : connect(address.port, address.host);
socket.once('connect', () => process.exit(0));
socket.once('error', () => process.exit(1));
setTimeout(() => process.exit(1), TIMEOUT_MS);
