//! Randomness from one seed: what a simulation replays, and what a thief of memory cannot turn back.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use zeroize::Zeroizing;

/// A generator whose state is wiped when it goes, and replaced after each secret drawn from it: who reads it later
/// learns nothing of secrets drawn before (what Bernstein calls fast key erasure).
///
/// The generator itself offers no wiping, so its state stands in one place on the heap and is overwritten there by that
/// of a seed of zeros.
pub struct Generator(Box<ChaCha20Rng>);

impl Generator {
    /// One that draws everything from `seed`, which must be unpredictable and used once.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let mut generator = Self(Box::new(ChaCha20Rng::from_seed([0; 32])));
        generator.restart(&Zeroizing::new(seed));
        generator
    }

    /// Fills `into`.
    pub fn fill(&mut self, into: &mut [u8]) {
        self.0.fill_bytes(into);
    }

    /// N random octets that need not stay secret.
    pub fn octets<const N: usize>(&mut self) -> [u8; N] {
        let mut octets = [0; N];
        self.fill(&mut octets);
        octets
    }

    /// N random octets that are secret: wiped when dropped, and not to be had again from this generator's state.
    pub fn secret<const N: usize>(&mut self) -> Zeroizing<[u8; N]> {
        let mut secret = Zeroizing::new([0; N]);
        self.fill(&mut *secret);
        let mut next = Zeroizing::new([0; 32]);
        self.fill(&mut *next);
        self.restart(&next);
        secret
    }

    /// A random number.
    pub fn number(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A random number.
    pub fn long_number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Key, counter and the block drawn last are all written over.
    fn restart(&mut self, seed: &Zeroizing<[u8; 32]>) {
        *self.0 = ChaCha20Rng::from_seed(**seed);
        // Or the compiler may find that nobody reads what was written.
        std::hint::black_box(&mut *self.0);
    }

    fn wipe(&mut self) {
        self.restart(&Zeroizing::new([0; 32]));
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Generator(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(octet: u8) -> Generator {
        Generator::new([octet; 32])
    }

    #[test]
    fn a_seed_replays_and_secrets_and_numbers_differ() {
        let (mut one, mut same) = (generator(1), generator(1));
        for _ in 0..3 {
            assert_eq!(one.secret::<32>(), same.secret::<32>());
            assert_eq!(one.number(), same.number());
        }
        assert_ne!(one.secret::<32>(), one.secret::<32>());
    }

    #[test]
    fn the_state_after_a_secret_does_not_bring_it_again() {
        let mut drawn = generator(2);
        let secret = drawn.secret::<32>();
        // Whoever has the state has the key, and with it every block from the first on.
        drawn.0.set_word_pos(0);
        for _ in 0..64 {
            assert_ne!(drawn.octets::<32>(), *secret);
        }
        // Without a new key it would: this is what the wrapper is for.
        let mut bare = ChaCha20Rng::from_seed([2; 32]);
        let first: [u8; 32] = {
            let mut octets = [0; 32];
            bare.fill_bytes(&mut octets);
            octets
        };
        bare.set_word_pos(0);
        let mut again = [0; 32];
        bare.fill_bytes(&mut again);
        assert_eq!(first, again);
    }

    #[test]
    fn wiped_it_is_as_one_made_of_zeros() {
        let mut used = generator(3);
        used.number();
        used.wipe();
        assert_eq!(*used.0, ChaCha20Rng::from_seed([0; 32]));
        assert_eq!(used.octets::<64>(), generator(0).octets::<64>());
    }
}
