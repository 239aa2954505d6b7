//! The hash functions as a table: word, block, initial state, padding (FIPS 180-4 §5).

use zeroize::Zeroize;

use crate::level::{Kind, Level};
#[cfg(target_arch = "x86_64")]
use crate::x86::kernel;

/// A hash function under an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384: SHA-512 from another initial state, cut.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Lanes of the widest level: 32-bit words in two 512-bit registers.
pub(crate) const MAX_LANES: usize = 32;

/// Octets of the longest block.
pub(crate) const MAX_BLOCK: usize = 128;

/// Words of a block, of every hash.
pub(crate) const WORDS: usize = 16;

/// The states of all lanes, word by word: word `w` of lane `l` stands at `w * MAX_LANES + l`.
#[repr(C, align(64))]
pub(crate) struct States<W>(pub(crate) [W; 8 * MAX_LANES]);

/// Where each lane's input lies. Lanes without work repeat one that has.
pub(crate) type Inputs = [*const u8; MAX_LANES];

/// Hashes so many blocks of each lane's input into its state.
///
/// # Safety
/// The processor has the level's instructions, and each input may be read for that many blocks.
pub(crate) type Run<W> = unsafe fn(&mut States<W>, &Inputs, usize);

/// The ends of HMACs over texts of one length: what each text has behind its last whole block, and the second hash.
pub(crate) struct Ends<'k, W> {
    /// Whole blocks of each text.
    pub(crate) whole: usize,
    /// How many words each text has behind them, less than a block.
    pub(crate) words: usize,
    /// What stands behind the text, zeros where the text and its suffix stand; of two blocks the first is that of the
    /// text's last words.
    pub(crate) inner: [[W; WORDS]; 2],
    /// How many of the two there are.
    pub(crate) blocks: usize,
    /// A word of each lane for the place behind the text's last word, if texts have one.
    pub(crate) suffixes: Option<Suffixes<W>>,
    /// The state behind the second padded key.
    pub(crate) keyed: &'k [W; 8],
    /// Words of the first digest, with which the second message begins.
    pub(crate) digest: usize,
    /// The second message, but for the digest.
    pub(crate) outer: [W; WORDS],
}

/// A word of each lane; where its other octets stand, `inner` has zeros.
#[repr(C, align(64))]
pub(crate) struct Suffixes<W>(pub(crate) [W; MAX_LANES]);

/// Ends the HMACs whose whole blocks are in the states; these are then the codes.
///
/// # Safety
/// The processor has the level's instructions, and each input may be read for as many whole blocks and words as the
/// ends say.
pub(crate) type Finish<W> = unsafe fn(&mut States<W>, &Inputs, &Ends<'_, W>);

/// A hash function at one level.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<W> {
    pub(crate) lanes: usize,
    pub(crate) run: Run<W>,
    pub(crate) finish: Finish<W>,
}

/// A word of a state: 32 or 64 bits.
pub(crate) trait Word: Copy + Default + Zeroize {
    /// Writes the word big endian, as much of it as `to` holds.
    fn write(self, to: &mut [u8]);

    /// The word that `octets` are, big endian; as if zeros followed where they are too few.
    fn read(octets: &[u8]) -> Self;
}

macro_rules! word {
    ($word:ident) => {
        impl Word for $word {
            fn write(self, to: &mut [u8]) {
                match to.first_chunk_mut() {
                    Some(whole) => *whole = self.to_be_bytes(),
                    None => to.iter_mut().zip(self.to_be_bytes()).for_each(|(to, octet)| *to = octet),
                }
            }

            fn read(octets: &[u8]) -> Self {
                let mut word = [0; size_of::<Self>()];
                word.iter_mut().zip(octets).for_each(|(to, octet)| *to = *octet);
                Self::from_be_bytes(word)
            }
        }
    };
}

word!(u32);
word!(u64);

/// What the scheduler has to know of a hash function.
pub(crate) trait Function {
    type Word: Word;
    /// Octets of a block.
    const BLOCK: usize;
    /// Octets of the message length at the end of the padding.
    const LENGTH: usize;
    /// Octets of the digest.
    const DIGEST: usize;
    const INITIAL: [Self::Word; 8];

    /// For few and for many messages.
    fn kernels(level: Level) -> [Kernel<Self::Word>; 2];
}

pub(crate) struct Sha1;
pub(crate) struct Sha256;
pub(crate) struct Sha384;
pub(crate) struct Sha512;

impl Function for Sha1 {
    type Word = u32;
    const BLOCK: usize = 64;
    const LENGTH: usize = 8;
    const DIGEST: usize = 20;
    const INITIAL: [u32; 8] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0, 0, 0, 0];

    fn kernels(level: Level) -> [Kernel<u32>; 2] {
        match level.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => [kernel::SHA1_512, kernel::SHA1_512_TWICE],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => [kernel::SHA1_256, kernel::SHA1_256_TWICE],
        }
    }
}

impl Function for Sha256 {
    type Word = u32;
    const BLOCK: usize = 64;
    const LENGTH: usize = 8;
    const DIGEST: usize = 32;
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    fn kernels(level: Level) -> [Kernel<u32>; 2] {
        match level.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => [kernel::SHA256_512, kernel::SHA256_512_TWICE],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => [kernel::SHA256_256, kernel::SHA256_256],
        }
    }
}

impl Function for Sha384 {
    type Word = u64;
    const BLOCK: usize = 128;
    const LENGTH: usize = 16;
    const DIGEST: usize = 48;
    const INITIAL: [u64; 8] = [
        0xcbbb_9d5d_c105_9ed8,
        0x629a_292a_367c_d507,
        0x9159_015a_3070_dd17,
        0x152f_ecd8_f70e_5939,
        0x6733_2667_ffc0_0b31,
        0x8eb4_4a87_6858_1511,
        0xdb0c_2e0d_64f9_8fa7,
        0x47b5_481d_befa_4fa4,
    ];

    fn kernels(level: Level) -> [Kernel<u64>; 2] {
        Sha512::kernels(level)
    }
}

impl Function for Sha512 {
    type Word = u64;
    const BLOCK: usize = 128;
    const LENGTH: usize = 16;
    const DIGEST: usize = 64;
    const INITIAL: [u64; 8] = [
        0x6a09_e667_f3bc_c908,
        0xbb67_ae85_84ca_a73b,
        0x3c6e_f372_fe94_f82b,
        0xa54f_f53a_5f1d_36f1,
        0x510e_527f_ade6_82d1,
        0x9b05_688c_2b3e_6c1f,
        0x1f83_d9ab_fb41_bd6b,
        0x5be0_cd19_137e_2179,
    ];

    fn kernels(level: Level) -> [Kernel<u64>; 2] {
        match level.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => [kernel::SHA512_512, kernel::SHA512_512_TWICE],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => [kernel::SHA512_256, kernel::SHA512_256],
        }
    }
}

impl<W: Word> States<W> {
    pub(crate) fn new() -> Self {
        Self([W::default(); 8 * MAX_LANES])
    }

    /// Puts the first lanes into a state. The others stay as they are: what no kernel overwrites would keep a
    /// key's state.
    pub(crate) fn fill(&mut self, lanes: usize, state: &[W; 8]) {
        for (places, word) in self.0.as_chunks_mut::<MAX_LANES>().0.iter_mut().zip(state) {
            places.iter_mut().take(lanes).for_each(|place| *place = *word);
        }
    }

    /// Puts one lane into a state.
    pub(crate) fn set(&mut self, lane: usize, state: &[W; 8]) {
        let places = self.0.iter_mut().skip(lane).step_by(MAX_LANES);
        places.zip(state).for_each(|(place, word)| *place = *word);
    }

    /// The state of one lane.
    pub(crate) fn get(&self, lane: usize) -> [W; 8] {
        let mut state = [W::default(); 8];
        for (word, lanes) in state.iter_mut().zip(self.0.as_chunks::<MAX_LANES>().0) {
            *word = lanes.get(lane).copied().unwrap_or_default();
        }
        state
    }
}

/// A state as octets, cut to what `to` holds.
pub(crate) fn write_digest<F: Function>(state: &[F::Word; 8], to: &mut [u8]) {
    let cut = to.len().min(F::DIGEST);
    let to = to.get_mut(..cut).unwrap_or_default();
    to.chunks_mut(size_of::<F::Word>()).zip(state).for_each(|(to, word)| word.write(to));
}

/// Writes a message's last octets, the bit of one, and the length of the whole message in bits. Gives how
/// many octets that is: one or two blocks.
///
/// `parts` together are shorter than a block and four octets.
pub(crate) fn pad<F: Function>(buffer: &mut [u8; 2 * MAX_BLOCK], parts: [&[u8]; 2], message: usize) -> usize {
    let mut used = 0;
    for part in parts {
        let place = buffer.get_mut(used..used + part.len()).unwrap_or_default();
        place.copy_from_slice(part);
        used += part.len();
    }
    let end = (used + 1 + F::LENGTH).next_multiple_of(F::BLOCK);
    if let Some([one, zeros @ ..]) = buffer.get_mut(used..end) {
        *one = 0x80;
        zeros.fill(0);
        // Messages are slices, so the upper half of a 128-bit length is always zero.
        if let Some(length) = zeros.last_chunk_mut::<8>() {
            *length = (message as u64 * 8).to_be_bytes();
        }
    }
    end
}
