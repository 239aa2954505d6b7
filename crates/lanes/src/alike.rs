//! HMACs of messages of one length, a set of lanes at a time: where one ends all do, and what stands behind the text
//! is known without looking at it.

use crate::hash::{Ends, Function, Inputs, Kernel, MAX_BLOCK, MAX_LANES, States, Suffixes, Word, pad};
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
    /// The texts are all of the form that `ends` were made for.
    unsafe fn codes_of_set(
        &self,
        [narrow, wide]: [Kernel<F::Word>; 2],
        ends: &mut Ends<'_, F::Word>,
        set: &mut [Job<'_>],
    ) {
        let kernel = if set.len() <= narrow.lanes { narrow } else { wide };
        let Some(first) = set.first() else { return };
        // Lanes without a message repeat the first one.
        let mut texts: Inputs = [first.text.as_ptr(); MAX_LANES];
        texts.iter_mut().zip(&*set).for_each(|(text, job)| *text = job.text.as_ptr());
        if let Some(suffixes) = &mut ends.suffixes {
            let given = set.iter().filter_map(|job| job.suffix);
            suffixes.0.iter_mut().zip(given).for_each(|(word, suffix)| *word = F::Word::read(&suffix));
        }
        let mut states = States::new();
        states.fill(kernel.lanes, &self.inner);
        // SAFETY: the kernel is one of a level this processor has. The texts are of the ends' form: the caller's promise.
        unsafe {
            (kernel.run)(&mut states, &texts, ends.whole);
            (kernel.finish)(&mut states, &texts, ends);
        }
        write_codes::<F>(&states, set);
    }

    /// What stands behind texts of this one's form.
    fn ends(&self, job: &Job<'_>) -> Ends<'_, F::Word> {
        const ZEROS: [u8; MAX_BLOCK] = [0; MAX_BLOCK];
        let (tail, suffix) = (job.text.len() % F::BLOCK, job.suffix.map_or(0, |suffix| suffix.len()));
        let zeros = |count: usize| ZEROS.get(..count).unwrap_or_default();
        let mut buffer = [0; 2 * MAX_BLOCK];
        let message = F::BLOCK + job.text.len() + suffix;
        let end = pad::<F>(&mut buffer, [zeros(tail), zeros(suffix)], message);
        let (first, second) = buffer.split_at(F::BLOCK);
        let inner = [words(first), words(second)];
        pad::<F>(&mut buffer, [zeros(F::DIGEST), &[]], F::BLOCK + F::DIGEST);
        Ends {
            whole: job.text.len() / F::BLOCK,
            words: tail / size_of::<F::Word>(),
            inner,
            blocks: end / F::BLOCK,
            suffixes: job.suffix.map(|_| Suffixes([F::Word::default(); MAX_LANES])),
            keyed: &self.outer,
            digest: F::DIGEST / size_of::<F::Word>(),
            outer: words(&buffer),
        }
    }
}

/// Each lane's digest, cut to what its message's code holds.
fn write_codes<F: Function>(states: &States<F::Word>, set: &mut [Job<'_>]) {
    let longest = set.iter().map(|job| job.code.len()).max().unwrap_or_default().min(F::DIGEST);
    let words = states.0.as_chunks::<MAX_LANES>().0;
    for (start, lanes) in (0..longest).step_by(size_of::<F::Word>()).zip(words) {
        for (job, word) in set.iter_mut().zip(lanes) {
            word.write(job.code.get_mut(start..).unwrap_or_default());
        }
    }
}

/// How many of the first messages are of one form whose texts end with a whole word.
fn count<F: Function>(jobs: &[Job<'_>], lanes: usize) -> usize {
    let form = |job: &Job<'_>| (job.text.len(), job.suffix.is_some());
    let Some(first) = jobs.first().map(form) else { return 0 };
    if !first.0.is_multiple_of(size_of::<F::Word>()) {
        return 0;
    }
    let count = jobs.iter().take_while(|job| form(job) == first).count();
    if count == jobs.len() { count } else { count - count % lanes }
}

/// Octets as words; zeros behind them.
fn words<W: Word, const N: usize>(octets: &[u8]) -> [W; N] {
    let mut words = [W::default(); N];
    words.iter_mut().zip(octets.chunks(size_of::<W>())).for_each(|(word, octets)| *word = W::read(octets));
    words
}
