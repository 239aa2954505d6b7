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
            C::compress(&mut state, gather(inputs, block, WORDS));
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
    // SAFETY: the caller's promise.
    unsafe {
        let mut state = load::<C, V>(states);
        let mut words = last_words(inputs, ends);
        let mut left = ends.blocks;
        // One compression in the code for all of them.
        loop {
            C::compress(&mut state, words);
            match left {
                0 => break,
                1 => {
                    words = splat(&ends.outer);
                    words[..ends.digest].copy_from_slice(&state[..ends.digest]);
                    state = splat(ends.keyed);
                }
                _ => words = splat(&ends.inner[1]),
            }
            left -= 1;
        }
        store::<C, V>(states, &state);
    }
}

/// The block with the last words of each text, and what stands behind them.
#[inline(always)]
unsafe fn last_words<V: Vector>(inputs: &Inputs, ends: &Ends<'_, V::Word>) -> [V; WORDS] {
    // SAFETY: the caller's promise; suffixes are as many as there are lanes.
    unsafe {
        let mut words: [V; WORDS] = gather(inputs, ends.whole, ends.words);
        for (word, behind) in words.iter_mut().zip(&ends.inner[0]) {
            *word = word.xor(V::splat(*behind));
        }
        if let Some(suffixes) = &ends.suffixes {
            let suffix = V::load(suffixes.0.as_ptr());
            for (at, word) in words.iter_mut().enumerate() {
                if at == ends.words {
                    *word = word.xor(suffix);
                }
            }
        }
        words
    }
}

/// The first words of a block of each input, zeros for the others.
#[inline(always)]
unsafe fn gather<V: Vector>(inputs: &Inputs, block: usize, count: usize) -> [V; WORDS] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut words = [V::zero(); WORDS];
        for part in 0..WORDS / V::WORDS {
            let offset = size_of::<V::Word>() * (WORDS * block + V::WORDS * part);
            let count = count.saturating_sub(V::WORDS * part).min(V::WORDS);
            V::gather(inputs.as_ptr(), offset, count, words.as_mut_ptr().add(part * V::WORDS));
        }
        words
    }
}

/// The same words in every lane.
#[inline(always)]
unsafe fn splat<V: Vector, const N: usize>(words: &[V::Word; N]) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut registers = [V::zero(); N];
        for (register, word) in registers.iter_mut().zip(words) {
            *register = V::splat(*word);
        }
        registers
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
