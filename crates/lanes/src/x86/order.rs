//! What the compiler must not move. Nothing here is an instruction.

use core::arch::asm;
use core::arch::x86_64::*;

/// Has these computed here: without it the compiler puts the rounds of one register behind each other, of which
/// each waits for the one before, and what should stand among them at the end.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn hold<const N: usize>(registers: &mut [__m512i; N]) {
    for one in registers {
        // SAFETY: there is no instruction in it.
        unsafe { asm!("/* {} */", inout(zmm_reg) * one, options(nomem, nostack, preserves_flags)) };
    }
}

/// Has a key read anew: the compiler would keep what it reads once on the stack, where nobody wipes it.
#[inline]
pub(super) fn read_again<K>(key: &K) -> &K {
    let mut key: *const K = key;
    // SAFETY: there is no instruction in it, so this is the key as it came.
    unsafe {
        asm!("/* {} */", inout(reg) key, options(readonly, nostack, preserves_flags));
        &*key
    }
}
