//! Each hash for each register width, compiled with the instructions of its level. Two 256-bit registers side
//! by side made SHA-2 slower: sixteen registers do not hold two states and their words.

use super::blocks;
use super::sha1::Sha1;
use super::sha2::{Sha256, Sha512};
use super::vector::{Long4, Long8, Short8, Short16, Twice, Vector};
use crate::hash::{Ends, Inputs, Kernel, States};

macro_rules! kernel {
    ($name:ident, $features:literal, $hash:ident, $vector:ty, $word:ident) => {
        pub(crate) const $name: Kernel<$word> = {
            /// # Safety
            /// See [`crate::hash::Run`].
            #[target_feature(enable = $features)]
            unsafe fn run(states: &mut States<$word>, inputs: &Inputs, blocks: usize) {
                // SAFETY: as the caller promises.
                unsafe { blocks::run::<$hash, $vector>(states, inputs, blocks) };
            }
            /// # Safety
            /// See [`crate::hash::Finish`].
            #[target_feature(enable = $features)]
            unsafe fn finish(states: &mut States<$word>, inputs: &Inputs, ends: &Ends<'_, $word>) {
                // SAFETY: as the caller promises.
                unsafe { blocks::finish::<$hash, $vector>(states, inputs, ends) };
            }
            Kernel { lanes: <$vector>::LANES, run, finish }
        };
    };
}

kernel!(SHA1_512, "avx512f,avx512bw", Sha1, Short16, u32);
kernel!(SHA1_512_TWICE, "avx512f,avx512bw", Sha1, Twice<Short16>, u32);
kernel!(SHA1_256, "avx2", Sha1, Short8, u32);
kernel!(SHA1_256_TWICE, "avx2", Sha1, Twice<Short8>, u32);
kernel!(SHA256_512, "avx512f,avx512bw", Sha256, Short16, u32);
kernel!(SHA256_512_TWICE, "avx512f,avx512bw", Sha256, Twice<Short16>, u32);
kernel!(SHA256_256, "avx2", Sha256, Short8, u32);
kernel!(SHA512_512, "avx512f,avx512bw", Sha512, Long8, u64);
kernel!(SHA512_512_TWICE, "avx512f,avx512bw", Sha512, Twice<Long8>, u64);
kernel!(SHA512_256, "avx2", Sha512, Long4, u64);
