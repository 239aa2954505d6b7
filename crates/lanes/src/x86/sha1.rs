//! SHA-1's compression (FIPS 180-4 §6.1.2) in every lane.

use core::hint::black_box;

use super::blocks::Compression;
use super::vector::Vector;
use crate::hash::WORDS;

pub(super) struct Sha1;

impl Compression for Sha1 {
    type Word = u32;
    const STATE: usize = 5;

    #[inline(always)]
    unsafe fn compress<V: Vector<Word = u32>>(state: &mut [V; 8], mut w: [V; WORDS]) {
        // SAFETY: the caller's promise.
        unsafe {
            let [mut a, mut b, mut c, mut d, mut e, ..] = *state;
            // Constants the compiler knows it adds last, and each round waits for what is added last.
            let constants = black_box([0x5a82_7999u32, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6]);

            macro_rules! round {
                ($f:ident, $k:expr, $t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident) => {
                    if $t >= 16 {
                        let three = w[($t + 13) & 15].xor3(w[($t + 8) & 15], w[($t + 2) & 15]);
                        w[$t & 15] = three.xor(w[$t & 15]).rotate_right::<31>();
                    }
                    let known = $e.add(w[$t & 15].add($k));
                    $e = known.add($b.$f($c, $d)).add($a.rotate_right::<27>());
                    $b = $b.rotate_right::<2>();
                };
            }
            macro_rules! twenty {
                ($f:ident, $k:literal, $($t:literal)*) => {
                    let k = V::splat(constants[$k]);
                    $(
                        round!($f, k, $t, a b c d e);
                        round!($f, k, $t + 1, e a b c d);
                        round!($f, k, $t + 2, d e a b c);
                        round!($f, k, $t + 3, c d e a b);
                        round!($f, k, $t + 4, b c d e a);
                    )*
                };
            }
            twenty!(choose, 0, 0 5 10 15);
            twenty!(xor3, 1, 20 25 30 35);
            twenty!(majority, 2, 40 45 50 55);
            twenty!(xor3, 3, 60 65 70 75);

            for (word, more) in state.iter_mut().zip([a, b, c, d, e]) {
                *word = word.add(more);
            }
        }
    }
}
