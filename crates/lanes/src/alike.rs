//! HMACs of messages of one length, a set of lanes at a time: where one ends all do, and what stands behind the text
//! is known without looking at it.

use crate::hash::{
    Ends, Function, Inputs, Kernel, MAX_BLOCK, MAX_LANES, States, Suffixes, Word, pad, write_digest,
};
use crate::hmac::{Job, Midstates};

impl<F: Function> Midstates<F> {
    /// The codes of the first messages, as far as they are of one form: whole sets of lanes, and all when no others
    /// follow. Gives those that are left.
    pub(crate) fn codes_alike<'j, 'a>(
        &self,
        kernels: [Kernel<F::Word>; 2],
        jobs: &'j mut [Job<'a>],
    ) -> &'j mut [Job<'a>] {
        let [.., wide] = kernels;
        let (alike, others) = jobs.split_at_mut(count::<F>(jobs, wide.lanes));
        if let Some(first) = alike.first() {
            let mut ends = self.ends(first);
            for set in alike.chunks_mut(wide.lanes) {
                // SAFETY: they are of one form, as was counted.
                unsafe { self.codes_of_set(kernels, &mut ends, set) };
            }
        }
        others
    }

    /// The codes of as many as the wide kernel has lanes, or fewer.
    ///
    /// # Safety
    /// The texts are all of one length, a block at least.
    unsafe fn codes_of_set(
        &self,
        [narrow, wide]: [Kernel<F::Word>; 2],
        ends: &mut Ends<'_, F::Word>,
        set: &mut [Job<'_>],
    ) {
        let kernel = if set.len() <= narrow.lanes { narrow } else { wide };
        let Some(first) = set.first() else { return };
        let blocks = first.text.len() / F::BLOCK;
        // Lanes without a message repeat the first one.
        let mut texts: Inputs = [first.text.as_ptr(); MAX_LANES];
        let mut last_blocks: Inputs = [last_block::<F>(first); MAX_LANES];
        for ((job, text), last) in set.iter().zip(&mut texts).zip(&mut last_blocks) {
            (*text, *last) = (job.text.as_ptr(), last_block::<F>(job));
        }
        for (job, word) in set.iter().zip(&mut ends.suffixes.0) {
            *word = job.suffix.as_ref().map_or(F::Word::default(), |suffix| F::Word::read(suffix));
        }
        let mut states = States::new();
        states.fill(kernel.lanes, &self.inner);
        // SAFETY: the kernel is one of a level this processor has. Each text has so many blocks, and as many octets
        // before its end as a block has: the caller's promise.
        unsafe {
            (kernel.run)(&mut states, &texts, blocks);
            (kernel.finish)(&mut states, &last_blocks, ends);
        }
        for (lane, job) in set.iter_mut().enumerate() {
            write_digest::<F>(&states.get(lane), job.code);
        }
    }

    /// What stands behind texts of this one's form.
    fn ends(&self, job: &Job<'_>) -> Ends<'_, F::Word> {
        const ZEROS: [u8; MAX_BLOCK] = [0; MAX_BLOCK];
        let (tail, suffix) = (job.text.len() % F::BLOCK, job.suffix.map_or(0, |suffix| suffix.len()));
        let zeros = |count: usize| ZEROS.get(..count).unwrap_or_default();
        let mut buffer = [0; 2 * MAX_BLOCK];
        let message = F::BLOCK + job.text.len() + suffix;
        let end = pad::<F>(&mut buffer, [zeros(tail), zeros(suffix)], message);
        let inner = words(buffer.get(tail..end).unwrap_or_default());
        let end_outer = pad::<F>(&mut buffer, [zeros(F::DIGEST), &[]], F::BLOCK + F::DIGEST);
        let outer = words(buffer.get(..end_outer).unwrap_or_default());
        Ends {
            words: tail / size_of::<F::Word>(),
            inner,
            suffixes: Suffixes([F::Word::default(); MAX_LANES]),
            blocks: end / F::BLOCK,
            keyed: &self.outer,
            digest: F::DIGEST / size_of::<F::Word>(),
            outer,
        }
    }
}

/// How many of the first messages are of one form whose texts end with a whole word, no sooner than with a block.
fn count<F: Function>(jobs: &[Job<'_>], lanes: usize) -> usize {
    let form = |job: &Job<'_>| (job.text.len(), job.suffix.is_some());
    let Some(first) = jobs.first().map(form) else { return 0 };
    if first.0 < F::BLOCK || !first.0.is_multiple_of(size_of::<F::Word>()) {
        return 0;
    }
    let count = jobs.iter().take_while(|job| form(job) == first).count();
    if count == jobs.len() { count } else { count - count % lanes }
}

/// Where the last block's worth of octets of a text begins.
fn last_block<F: Function>(job: &Job<'_>) -> *const u8 {
    let start = job.text.len().saturating_sub(F::BLOCK);
    job.text.get(start..).unwrap_or_default().as_ptr()
}

/// Octets as words; zeros behind them.
fn words<W: Word, const N: usize>(octets: &[u8]) -> [W; N] {
    let mut words = [W::default(); N];
    words.iter_mut().zip(octets.chunks(size_of::<W>())).for_each(|(word, octets)| *word = W::read(octets));
    words
}
