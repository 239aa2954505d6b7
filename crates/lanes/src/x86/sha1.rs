//! SHA-1's compression (FIPS 180-4 §6.1.2) in every lane.

use core::hint::black_box;

use super::vector::Vector;
use crate::hash::{Inputs, MAX_LANES, States};

/// # Safety
/// See [`crate::hash::Run`]; called where the register's instructions are enabled.
#[inline(always)]
pub(super) unsafe fn sha1<V: Vector<Word = u32>>(states: &mut States<u32>, inputs: &Inputs, blocks: usize) {
    // SAFETY: the caller's promise; `states` has room for five registers of any width.
    unsafe {
        let place = states.0.as_mut_ptr();
        let word = |at: usize| V::load(place.add(at * MAX_LANES));
        let (mut a, mut b, mut c, mut d, mut e) = (word(0), word(1), word(2), word(3), word(4));
        // Constants the compiler knows it adds last, and each round waits for what is added last.
        let constants = black_box([0x5a82_7999u32, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6]);
        for block in 0..blocks {
            let mut w = [V::zero(); 16];
            for part in 0..16 / V::WORDS {
                let offset = 64 * block + 4 * V::WORDS * part;
                V::gather(inputs.as_ptr(), offset, w.as_mut_ptr().add(part * V::WORDS));
            }
            let (a0, b0, c0, d0, e0) = (a, b, c, d, e);

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

            (a, b, c, d, e) = (a.add(a0), b.add(b0), c.add(c0), d.add(d0), e.add(e0));
        }
        for (at, register) in [a, b, c, d, e].into_iter().enumerate() {
            register.store(place.add(at * MAX_LANES));
        }
    }
}
