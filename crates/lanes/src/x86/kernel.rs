//! Each hash for each register width, compiled with the instructions of its level. Two 256-bit registers side
//! by side made SHA-2 slower: sixteen registers do not hold two states and their words.

use super::sha1::sha1;
use super::sha2::{sha256, sha512};
use super::vector::{Long4, Long8, Short8, Short16, Twice, Vector};
use crate::hash::{Inputs, Kernel, States};

macro_rules! kernel {
    ($name:ident, $features:literal, $hash:ident, $vector:ty, $word:ident) => {
        pub(crate) const $name: Kernel<$word> = {
            /// # Safety
            /// See [`crate::hash::Run`].
            #[target_feature(enable = $features)]
            unsafe fn run(states: &mut States<$word>, inputs: &Inputs, blocks: usize) {
                // SAFETY: as the caller promises.
                unsafe { $hash::<$vector>(states, inputs, blocks) };
            }
            Kernel { lanes: <$vector>::LANES, run }
        };
    };
}

kernel!(SHA1_512, "avx512f,avx512bw", sha1, Short16, u32);
kernel!(SHA1_512_TWICE, "avx512f,avx512bw", sha1, Twice<Short16>, u32);
kernel!(SHA1_256, "avx2", sha1, Short8, u32);
kernel!(SHA1_256_TWICE, "avx2", sha1, Twice<Short8>, u32);
kernel!(SHA256_512, "avx512f,avx512bw", sha256, Short16, u32);
kernel!(SHA256_512_TWICE, "avx512f,avx512bw", sha256, Twice<Short16>, u32);
kernel!(SHA256_256, "avx2", sha256, Short8, u32);
kernel!(SHA512_512, "avx512f,avx512bw", sha512, Long8, u64);
kernel!(SHA512_512_TWICE, "avx512f,avx512bw", sha512, Twice<Long8>, u64);
kernel!(SHA512_256, "avx2", sha512, Long4, u64);
