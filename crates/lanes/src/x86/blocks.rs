//! Blocks of every lane's message through a compression function: whole ones where they lie, and those at the end
//! of an HMAC, most of whose words are known without reading them.

use super::vector::Vector;
use crate::hash::{Ends, Inputs, MAX_LANES, States, WORDS};

/// A hash's compression function.
pub(super) trait Compression {
    type Word: Copy;
    /// Words of its state, which are the first of eight.
    const STATE: usize;

    /// Adds a block to the state.
    ///
    /// # Safety
    /// See [`Vector`]; called where the register's instructions are enabled.
    unsafe fn compress<V: Vector<Word = Self::Word>>(state: &mut [V; 8], block: [V; WORDS]);
}

/// # Safety
/// See [`crate::hash::Run`]; called where the register's instructions are enabled.
#[inline(always)]
pub(super) unsafe fn run<C: Compression, V: Vector<Word = C::Word>>(
    states: &mut States<C::Word>,
    inputs: &Inputs,
    blocks: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut state = load::<C, V>(states);
        for block in 0..blocks {
            C::compress(&mut state, gather(inputs, block));
        }
        store::<C, V>(states, &state);
    }
}

/// # Safety
/// See [`crate::hash::Finish`]; called where the register's instructions are enabled.
#[inline(always)]
pub(super) unsafe fn finish<C: Compression, V: Vector<Word = C::Word>>(
    states: &mut States<C::Word>,
    inputs: &Inputs,
    ends: &Ends<'_, C::Word>,
) {
    // SAFETY: the caller's promise; suffixes are as many as there are lanes.
    unsafe {
        let mut state = load::<C, V>(states);
        let read: [V; WORDS] = gather(inputs, 0);
        for block in 0..ends.blocks {
            let mut words = [V::zero(); WORDS];
            for (at, word) in words.iter_mut().enumerate() {
                *word = match (WORDS * block + at).checked_sub(ends.words) {
                    None => read[at + WORDS - ends.words],
                    Some(0) => V::splat(ends.inner[0]).xor(V::load(ends.suffixes.0.as_ptr())),
                    Some(behind) => V::splat(ends.inner[behind]),
                };
            }
            C::compress(&mut state, words);
        }
        let mut words = [V::zero(); WORDS];
        for (word, known) in words.iter_mut().zip(&ends.outer) {
            *word = V::splat(*known);
        }
        words[..ends.digest].copy_from_slice(&state[..ends.digest]);
        for (word, first) in state.iter_mut().zip(ends.keyed) {
            *word = V::splat(*first);
        }
        C::compress(&mut state, words);
        store::<C, V>(states, &state);
    }
}

#[inline(always)]
unsafe fn gather<V: Vector>(inputs: &Inputs, block: usize) -> [V; WORDS] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut words = [V::zero(); WORDS];
        for part in 0..WORDS / V::WORDS {
            let offset = size_of::<V::Word>() * (WORDS * block + V::WORDS * part);
            V::gather(inputs.as_ptr(), offset, words.as_mut_ptr().add(part * V::WORDS));
        }
        words
    }
}

#[inline(always)]
unsafe fn load<C: Compression, V: Vector<Word = C::Word>>(states: &States<C::Word>) -> [V; 8] {
    // SAFETY: the caller's promise; there is room for eight registers of any width.
    unsafe {
        let mut state = [V::zero(); 8];
        for (at, word) in state.iter_mut().enumerate().take(C::STATE) {
            *word = V::load(states.0.as_ptr().add(at * MAX_LANES));
        }
        state
    }
}

#[inline(always)]
unsafe fn store<C: Compression, V: Vector<Word = C::Word>>(states: &mut States<C::Word>, state: &[V; 8]) {
    // SAFETY: as above.
    unsafe {
        for (at, word) in state.iter().enumerate().take(C::STATE) {
            word.store(states.0.as_mut_ptr().add(at * MAX_LANES));
        }
    }
}
