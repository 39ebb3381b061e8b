//! What filters say of a call: an interpreter for the programs that seccomp(2) takes, whoever made them. Pure.

use super::{Instruction, NR_IO_URING_REGISTER, NR_IO_URING_SETUP, X32_SYSCALL_BIT};

/// `struct seccomp_data` without the instruction pointer, which is 0 here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Call {
    pub nr: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    pub args: [u64; 6],
}

impl Call {
    fn bytes(&self) -> [u8; DATA_BYTES as usize] {
        let mut data = [0; DATA_BYTES as usize];
        data[..4].copy_from_slice(&self.nr.to_ne_bytes());
        data[4..8].copy_from_slice(&self.arch.to_ne_bytes());
        for (bytes, argument) in data[16..].chunks_exact_mut(8).zip(self.args) {
            bytes.copy_from_slice(&argument.to_ne_bytes());
        }
        data
    }
}

/// Every ABI that a program may use on this machine, with the bits that it sets in a call's number.
#[cfg(target_arch = "x86_64")]
const ABIS: &[(u32, u32)] = &[(0xc000_003e, 0), (0xc000_003e, X32_SYSCALL_BIT), (0x4000_0003, 0)];
#[cfg(target_arch = "aarch64")]
const ABIS: &[(u32, u32)] = &[(0xc000_00b7, 0), (0x4000_0028, 0)];

/// Of `struct seccomp_data`.
const DATA_BYTES: u32 = 64;
/// BPF_MEMWORDS
const MEMORY_WORDS: usize = 16;
const ACTION: u32 = 0xffff_0000;
/// The least restrictive of those that keep the call from being made; the order is that of signed numbers.
const LAST_THAT_DENIES: i32 = super::RET_ERRNO as i32;

// include/uapi/linux/bpf_common.h
const LD_ABS: u16 = 0x20;
const LD_LEN: u16 = 0x80;
const LDX_LEN: u16 = 0x81;
const LD_IMM: u16 = 0x00;
const LDX_IMM: u16 = 0x01;
const LD_MEM: u16 = 0x60;
const LDX_MEM: u16 = 0x61;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const RET_K: u16 = 0x06;
const RET_A: u16 = 0x16;
const TAX: u16 = 0x07;
const TXA: u16 = 0x87;
const CLASS: u16 = 0x07;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const NEG: u16 = 0x84;
const JA: u16 = 0x05;
const OPERATION: u16 = 0xf0;
/// The operand is the index register, not `k`.
const IS_X: u16 = 0x08;

/// What the program returns; `None` if the kernel would not have taken it.
pub fn returned(program: &[Instruction], call: &Call) -> Option<u32> {
    let data = call.bytes();
    let mut memory = [0u32; MEMORY_WORDS];
    let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
    // Jumps go forward only, so it ends.
    loop {
        let Instruction { code, jump_true, jump_false, k } = *program.get(at)?;
        let operand = if code & IS_X != 0 { x } else { k };
        at += 1;
        match code {
            LD_ABS => {
                let start = k as usize;
                if k % 4 != 0 {
                    return None;
                }
                a = u32::from_ne_bytes(data.get(start..start.checked_add(4)?)?.try_into().ok()?);
            }
            LD_LEN => a = DATA_BYTES,
            LDX_LEN => x = DATA_BYTES,
            LD_IMM => a = k,
            LDX_IMM => x = k,
            LD_MEM => a = *memory.get(k as usize)?,
            LDX_MEM => x = *memory.get(k as usize)?,
            ST => *memory.get_mut(k as usize)? = a,
            STX => *memory.get_mut(k as usize)? = x,
            TAX => x = a,
            TXA => a = x,
            RET_K => return Some(k),
            RET_A => return Some(a),
            NEG => a = a.wrapping_neg(),
            JA => at = at.checked_add(k as usize)?,
            _ if code & CLASS == ALU => a = compute(code & OPERATION, a, operand)?,
            _ if code & CLASS == JMP => {
                let is_taken = match code & OPERATION {
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    0x40 => a & operand != 0,
                    _ => return None,
                };
                at += usize::from(if is_taken { jump_true } else { jump_false });
            }
            _ => return None,
        }
    }
}

fn compute(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        // By 0 the program ends, and returns 0.
        0x30 => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.wrapping_shl(operand),
        0x70 => a.wrapping_shr(operand),
        0xa0 => a ^ operand,
        _ => return None,
    })
}

/// Whether the kernel makes no such call for processes under these filters: the most restrictive decides.
pub fn is_denied(filters: &[Vec<Instruction>], call: &Call) -> bool {
    let action = |filter: &Vec<Instruction>| returned(filter, call).map(|value| (value & ACTION) as i32);
    filters.iter().filter_map(action).any(|action| action <= LAST_THAT_DENIES)
}

/// Whether none of io_uring's calls is made, in any ABI.
pub fn denies_io_uring(filters: &[Vec<Instruction>]) -> bool {
    ABIS.iter().all(|&(arch, bits)| {
        (NR_IO_URING_SETUP..=NR_IO_URING_REGISTER)
            .all(|nr| is_denied(filters, &Call { nr: nr | bits, arch, args: [0; 6] }))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{NATIVE, RET_ALLOW, RET_ERRNO, RET_USER_NOTIF, program};
    use super::*;

    const EPERM: u32 = RET_ERRNO | 1;

    fn statement(code: u16, k: u32) -> Instruction {
        Instruction { code, jump_true: 0, jump_false: 0, k }
    }

    fn constant(value: u32) -> Vec<Instruction> {
        vec![statement(RET_K, value)]
    }

    /// Denies one call, whatever the ABI.
    fn denying(nr: u32) -> Vec<Instruction> {
        vec![
            statement(LD_ABS, 0),
            Instruction { code: 0x15, jump_true: 0, jump_false: 1, k: nr },
            statement(RET_K, EPERM),
            statement(RET_K, RET_ALLOW),
        ]
    }

    #[test]
    fn our_own_filter_denies_io_uring() {
        assert!(denies_io_uring(&[program(NATIVE).to_vec()]));
        assert!(denies_io_uring(&[constant(RET_ALLOW), program(NATIVE).to_vec(), constant(RET_ALLOW)]));
    }

    #[test]
    fn what_denies_a_part_of_it_does_not() {
        assert!(!denies_io_uring(&[]));
        for value in [RET_ALLOW, 0x7ffc_0000, 0x7ff0_0000, RET_USER_NOTIF] {
            assert!(!denies_io_uring(&[constant(value)]), "{value:#x}");
        }
        let setup = denying(NR_IO_URING_SETUP);
        assert!(!denies_io_uring(std::slice::from_ref(&setup)));
        // Not in x32.
        assert!(!denies_io_uring(&[setup, denying(426), denying(427)]) || cfg!(not(target_arch = "x86_64")));
    }

    #[test]
    fn the_most_restrictive_filter_decides() {
        // Errno, trap, thread, process.
        for value in [EPERM, 0x0003_0000, 0, 0x8000_0000] {
            assert!(denies_io_uring(&[constant(RET_ALLOW), constant(value), constant(RET_USER_NOTIF)]), "{value:#x}");
        }
    }

    #[test]
    fn every_instruction_is_known() {
        let call = Call { nr: 7, arch: 9, args: [1 << 32 | 2, 0, 0, 0, 0, 0] };
        let run = |program: &[Instruction]| returned(program, &call);
        // (((7 + 9) * 3 - 8) / 4) << 2 | 1 ^ 3, by memory and the index register.
        let computed = [
            statement(LD_ABS, 4),
            statement(ST, 15),
            statement(LDX_MEM, 15),
            statement(LD_ABS, 0),
            statement(0x0c, 0),
            statement(0x24, 3),
            statement(0x14, 8),
            statement(0x34, 4),
            statement(0x64, 2),
            statement(0x44, 1),
            statement(0xa4, 3),
            statement(RET_A, 0),
        ];
        assert_eq!(run(&computed), Some((((16 * 3 - 8) / 4) << 2 | 1) ^ 3));
        assert_eq!(run(&[statement(LD_ABS, 16), statement(RET_A, 0)]), Some(2));
        assert_eq!(run(&[statement(LD_ABS, 20), statement(RET_A, 0)]), Some(1));
        assert_eq!(
            run(&[statement(LDX_IMM, 5), statement(TXA, 0), statement(NEG, 0), statement(RET_A, 0)]),
            Some(-5i32 as u32)
        );
        assert_eq!(run(&[statement(JA, 1), statement(RET_K, 1), statement(RET_K, 2)]), Some(2));
        for bad in [
            statement(LD_ABS, 62),
            statement(LD_ABS, 64),
            statement(LD_MEM, 16),
            statement(0x30, 0),
            statement(0x34, 0),
        ] {
            assert_eq!(run(&[bad, statement(RET_K, 1)]), None, "{bad:?}");
        }
        assert_eq!(run(&[]), None);
    }
}
