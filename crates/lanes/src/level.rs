//! Which of the processor's instructions are used.

use core::fmt;

use crate::hash::Hash;

/// A set of vector instructions that this processor has: there is no other way to a value than to find them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub(crate) kind: Kind,
    /// One hash at a time has instructions of its own.
    pub(crate) sha_instructions: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// 512-bit registers with F, BW and VL, and AES on all of a register (VAES).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256-bit registers, and AES on 128 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Level {
    /// The fastest level of this processor; `None` when it has none of them.
    #[must_use]
    pub fn best() -> Option<Self> {
        Self::available().next()
    }

    /// Every level of this processor, the fastest first.
    #[cfg(target_arch = "x86_64")]
    pub fn available() -> impl Iterator<Item = Self> {
        let aes = is_x86_feature_detected!("aes") && is_x86_feature_detected!("sse2");
        let avx2 = aes && is_x86_feature_detected!("avx2");
        // Processors with VAES no longer slow down for the sake of a few 512-bit instructions.
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("vaes");
        let sha_instructions = is_x86_feature_detected!("sha");
        [avx512.then_some(Kind::Avx512), avx2.then_some(Kind::Avx2)]
            .into_iter()
            .flatten()
            .map(move |kind| Self { kind, sha_instructions })
    }

    /// See [`crate::Hmac::worthwhile`]. The figures are the time of a set of lanes over that of one message by the
    /// `sha1` and `sha2` crates, measured with SHA instructions and careful without.
    pub(crate) fn worthwhile(self, hash: Hash) -> Option<usize> {
        match (self.kind, hash) {
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512, Hash::Sha1) => Some(if self.sha_instructions { 4 } else { 3 }),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2, Hash::Sha1) => Some(if self.sha_instructions { 5 } else { 3 }),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512, Hash::Sha256) => Some(if self.sha_instructions { 6 } else { 3 }),
            // Eight lanes of this width take longer than eight messages by SHA instructions.
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2, Hash::Sha256) => (!self.sha_instructions).then_some(3),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512, Hash::Sha384 | Hash::Sha512) => Some(2),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2, Hash::Sha384 | Hash::Sha512) => Some(3),
        }
    }

    /// Every level of this processor: none, as there are none for this architecture.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn available() -> impl Iterator<Item = Self> {
        core::iter::empty()
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}
