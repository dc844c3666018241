/**
 * A program of a few instructions that puts the system call filter of syscall-filter.ts into force and becomes the
 * program it is given: `filter PROGRAM [ARGUMENT…]`. util-linux before 2.41 cannot, and a clone has no compiler, so the
 * file is written here byte by byte: an ELF header, one segment, the code, the filter.
 *
 * It needs no-new-privileges, which the jail has set before. It exits with 125 where the kernel refuses the filter.
 */
import { type FilterArch, filterProgram } from './syscall-filter.ts';

const LOAD_ADDRESS = 0x40_0000;
const ELF_HEADER_BYTES = 64;
const SEGMENT_HEADER_BYTES = 56;
const CODE_AT = ELF_HEADER_BYTES + SEGMENT_HEADER_BYTES;
const CODE_BYTES = 64;
/** struct sock_fprog: a length, padding, the address of the instructions. */
const PROGRAM_AT = CODE_AT + CODE_BYTES;
const PROGRAM_BYTES = 16;
const FILTER_AT = PROGRAM_AT + PROGRAM_BYTES;

/** prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program); execve(argv[1], argv + 1, environment); exit(125). */
const CODE: Readonly<Record<FilterArch, string>> = {
  x64: [
    'bf16000000', //     mov edi, 22
    'be02000000', //     mov esi, 2
    '488d152f000000', // lea rdx, [rip + 0x2f]   the program, 64 bytes after the first instruction
    'b89d000000', //     mov eax, 157
    '0f05', //           syscall
    '4885c0', //         test rax, rax
    '7517', //           jne fail
    '488b0c24', //       mov rcx, [rsp]          the number of arguments
    '488d742410', //     lea rsi, [rsp + 16]
    '488b3e', //         mov rdi, [rsi]
    '488d14ce', //       lea rdx, [rsi + rcx * 8]
    'b83b000000', //     mov eax, 59
    '0f05', //           syscall
    'bf7d000000', // fail: mov edi, 125
    'b83c000000', //     mov eax, 60
    '0f05', //           syscall
  ].join(''),
  arm64: [
    'c00280d2', // mov x0, #22
    '410080d2', // mov x1, #2
    'c2010010', // adr x2, #56                the program, 64 bytes after the first instruction
    'e81480d2', // mov x8, #167
    '010000d4', // svc #0
    'e00000b5', // cbnz x0, fail
    'e90340f9', // ldr x9, [sp]               the number of arguments
    'e1430091', // add x1, sp, #16
    '200040f9', // ldr x0, [x1]
    '220c098b', // add x2, x1, x9, lsl #3
    'a81b80d2', // mov x8, #221
    '010000d4', // svc #0
    'a00f80d2', // fail: mov x0, #125
    'a80b80d2', // mov x8, #93
    '010000d4', // svc #0
  ].join(''),
};

const MACHINE: Readonly<Record<FilterArch, number>> = { x64: 62, arm64: 183 };

export function isFilterArch(arch: string): arch is FilterArch {
  return arch === 'x64' || arch === 'arm64';
}

/** The bytes of the file. */
export function filterLoader(arch: FilterArch): Buffer {
  const filter = filterProgram(arch);
  const file = Buffer.alloc(FILTER_AT + filter.length);
  // ELF, 64 bits, little-endian, version 1; an executable that is loaded where it says.
  file.write('7f454c46020101', 0, 'hex');
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(MACHINE[arch], 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(LOAD_ADDRESS + CODE_AT), 24);
  file.writeBigUInt64LE(BigInt(ELF_HEADER_BYTES), 32);
  file.writeUInt16LE(ELF_HEADER_BYTES, 52);
  file.writeUInt16LE(SEGMENT_HEADER_BYTES, 54);
  file.writeUInt16LE(1, 56);
  // One segment: the whole file, readable and executable.
  const segment = ELF_HEADER_BYTES;
  file.writeUInt32LE(1, segment);
  file.writeUInt32LE(5, segment + 4);
  file.writeBigUInt64LE(BigInt(LOAD_ADDRESS), segment + 16);
  file.writeBigUInt64LE(BigInt(LOAD_ADDRESS), segment + 24);
  file.writeBigUInt64LE(BigInt(file.length), segment + 32);
  file.writeBigUInt64LE(BigInt(file.length), segment + 40);
  file.writeBigUInt64LE(4096n, segment + 48);
  file.write(CODE[arch], CODE_AT, 'hex');
  file.writeUInt16LE(filter.length / 8, PROGRAM_AT);
  file.writeBigUInt64LE(BigInt(LOAD_ADDRESS + FILTER_AT), PROGRAM_AT + 8);
  filter.copy(file, FILTER_AT);
  return file;
}
