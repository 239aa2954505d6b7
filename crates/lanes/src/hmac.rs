//! HMAC (RFC 2104) over several messages at once, with the key's half of the work done once.

use core::fmt;

use zeroize::Zeroize;

use crate::hash::{
    Function, Hash, Inputs, Kernel, MAX_BLOCK, MAX_LANES, Sha1, Sha256, Sha384, Sha512, States, pad,
    write_digest,
};
use crate::level::Level;

/// One message and where its code goes.
pub struct Job<'a> {
    /// The message.
    pub text: &'a [u8],
    /// Four octets behind it that lie elsewhere.
    pub suffix: Option<[u8; 4]>,
    /// Gets the code, cut to its length. Octets past the hash's output are left alone.
    pub code: &'a mut [u8],
}

/// An HMAC key at one level: the hash's states behind the two padded keys.
pub struct Hmac {
    level: Level,
    hash: Hash,
    keyed: Keyed,
}

/// Boxed and made in place, so that no copy stays behind on a stack.
enum Keyed {
    Sha1(Box<Midstates<Sha1>>),
    Sha256(Box<Midstates<Sha256>>),
    Sha384(Box<Midstates<Sha384>>),
    Sha512(Box<Midstates<Sha512>>),
}

pub(crate) struct Midstates<F: Function> {
    pub(crate) inner: [F::Word; 8],
    pub(crate) outer: [F::Word; 8],
}

impl Hmac {
    /// A key of any length: longer than the hash's block it is hashed first.
    #[must_use]
    pub fn new(level: Level, hash: Hash, key: &[u8]) -> Self {
        let keyed = match hash {
            Hash::Sha1 => Keyed::Sha1(Midstates::new(level, key)),
            Hash::Sha256 => Keyed::Sha256(Midstates::new(level, key)),
            Hash::Sha384 => Keyed::Sha384(Midstates::new(level, key)),
            Hash::Sha512 => Keyed::Sha512(Midstates::new(level, key)),
        };
        Self { level, hash, keyed }
    }

    /// From how many messages on, of equal length, this beats the processor's best way with one after the
    /// other; `None` when it never does.
    #[must_use]
    pub fn worthwhile(&self) -> Option<usize> {
        self.level.worthwhile(self.hash)
    }

    /// How many messages fill the lanes.
    #[must_use]
    pub fn lanes(&self) -> usize {
        match self.keyed {
            Keyed::Sha1(_) | Keyed::Sha256(_) => Sha256::kernels(self.level)[0].lanes,
            Keyed::Sha384(_) | Keyed::Sha512(_) => Sha512::kernels(self.level)[0].lanes,
        }
    }

    /// Computes the code of each job's message.
    pub fn codes(&self, jobs: &mut [Job<'_>]) {
        match &self.keyed {
            Keyed::Sha1(keyed) => keyed.codes(self.level, jobs),
            Keyed::Sha256(keyed) => keyed.codes(self.level, jobs),
            Keyed::Sha384(keyed) => keyed.codes(self.level, jobs),
            Keyed::Sha512(keyed) => keyed.codes(self.level, jobs),
        }
    }
}

/// A job in its lane.
struct Slot<'j, 'a> {
    job: &'j mut Job<'a>,
    /// Whole blocks of the text not yet hashed.
    body: &'j [u8],
    /// Which octets of the lane's buffer are hashed once the body is.
    buffered: core::ops::Range<usize>,
    /// Of the two hashes, the second is under way.
    outer: bool,
}

impl<F: Function> Midstates<F> {
    fn new(level: Level, key: &[u8]) -> Box<Self> {
        let mut block = [0; MAX_BLOCK];
        if key.len() > F::BLOCK {
            hash_alone::<F>(level, key, &mut block);
        } else {
            block.iter_mut().zip(key).for_each(|(to, octet)| *to = *octet);
        }
        let mut keyed = Box::new(Self { inner: F::INITIAL, outer: F::INITIAL });
        let Self { inner, outer } = &mut *keyed;
        for (state, pad) in [(inner, 0x36), (outer, 0x5c)] {
            let mut padded = block.map(|octet| octet ^ pad);
            absorb::<F>(level, state, padded.get(..F::BLOCK).unwrap_or_default());
            padded.zeroize();
        }
        block.zeroize();
        keyed
    }

    /// Sets of messages of one length first, which take the shorter way, then what remains.
    fn codes(&self, level: Level, jobs: &mut [Job<'_>]) {
        let kernels = F::kernels(level);
        let others = self.codes_alike(kernels, jobs);
        if !others.is_empty() {
            self.codes_any(kernels, others);
        }
    }

    fn codes_any(&self, kernels: [Kernel<F::Word>; 2], jobs: &mut [Job<'_>]) {
        let [.., widest] = kernels;
        let mut states = States::new();
        let mut buffers = [[0; 2 * MAX_BLOCK]; MAX_LANES];
        let mut slots: [Option<Slot<'_, '_>>; MAX_LANES] = [const { None }; MAX_LANES];
        let mut waiting = jobs.iter_mut();
        loop {
            for (lane, (slot, buffer)) in slots.iter_mut().zip(&mut buffers).enumerate().take(widest.lanes) {
                if slot.is_none()
                    && let Some(job) = waiting.next()
                {
                    *slot = Some(Slot::new::<F>(job, buffer));
                    states.set(lane, &self.inner);
                }
            }
            let Some(blocks) = run_lanes::<F>(kernels, &mut states, &slots, &buffers) else { return };
            for (lane, (slot, buffer)) in slots.iter_mut().zip(&mut buffers).enumerate() {
                let Some(busy) = slot else { continue };
                if !busy.advance(blocks * F::BLOCK) {
                    continue;
                }
                let state = states.get(lane);
                if busy.outer {
                    write_digest::<F>(&state, busy.job.code);
                    *slot = None;
                } else {
                    busy.begin_outer::<F>(&state, buffer);
                    states.set(lane, &self.outer);
                }
            }
        }
    }
}

impl<'j, 'a> Slot<'j, 'a> {
    fn new<F: Function>(job: &'j mut Job<'a>, buffer: &mut [u8; 2 * MAX_BLOCK]) -> Self {
        let text = job.text;
        let (body, tail) = text.split_at(text.len() - text.len() % F::BLOCK);
        let suffix = job.suffix.as_ref().map_or(&[][..], <[u8; 4]>::as_slice);
        // The padded key is a block of the inner message as well.
        let end = pad::<F>(buffer, [tail, suffix], F::BLOCK + text.len() + suffix.len());
        Self { job, body, buffered: 0..end, outer: false }
    }

    /// What the lane hashes next: the body first.
    fn input<'s>(&'s self, buffer: &'s [u8; 2 * MAX_BLOCK]) -> &'s [u8] {
        if self.body.is_empty() { buffer.get(self.buffered.clone()).unwrap_or_default() } else { self.body }
    }

    /// So many octets are hashed; says whether that was all.
    fn advance(&mut self, octets: usize) -> bool {
        if self.body.is_empty() {
            self.buffered.start += octets;
        } else {
            self.body = self.body.get(octets..).unwrap_or_default();
        }
        self.body.is_empty() && self.buffered.is_empty()
    }

    /// The inner digest is the message of the second hash.
    fn begin_outer<F: Function>(&mut self, state: &[F::Word; 8], buffer: &mut [u8; 2 * MAX_BLOCK]) {
        let mut digest = [0; 64];
        write_digest::<F>(state, &mut digest);
        let digest = digest.get(..F::DIGEST).unwrap_or_default();
        self.buffered = 0..pad::<F>(buffer, [digest, &[]], F::BLOCK + F::DIGEST);
        self.outer = true;
    }
}

/// Hashes as many blocks as every busy lane has; gives how many, or `None` when no lane is busy.
fn run_lanes<F: Function>(
    [narrow, wide]: [Kernel<F::Word>; 2],
    states: &mut States<F::Word>,
    slots: &[Option<Slot<'_, '_>>; MAX_LANES],
    buffers: &[[u8; 2 * MAX_BLOCK]; MAX_LANES],
) -> Option<usize> {
    let inputs = || slots.iter().zip(buffers).map(|(slot, buffer)| Some(slot.as_ref()?.input(buffer)));
    let blocks = inputs().flatten().map(|input| input.len() / F::BLOCK).min()?;
    let idle = inputs().flatten().next()?.as_ptr();
    let mut places: Inputs = [idle; MAX_LANES];
    for (place, input) in places.iter_mut().zip(inputs()) {
        *place = input.map_or(idle, <[u8]>::as_ptr);
    }
    let busy = slots.iter().rposition(Option::is_some)?;
    let kernel = if busy < narrow.lanes { narrow } else { wide };
    // SAFETY: the kernel is one of a level this processor has; each place is the start of an input that
    // has at least so many blocks.
    unsafe { (kernel.run)(states, &places, blocks) };
    Some(blocks)
}

/// Whole blocks into one state.
fn absorb<F: Function>(level: Level, state: &mut [F::Word; 8], blocks: &[u8]) {
    let [kernel, _] = F::kernels(level);
    let mut states = States::new();
    states.set(0, state);
    // SAFETY: the kernel is one of a level this processor has, and all lanes read the same whole blocks.
    unsafe { (kernel.run)(&mut states, &[blocks.as_ptr(); MAX_LANES], blocks.len() / F::BLOCK) };
    *state = states.get(0);
    states.0.zeroize();
}

/// The hash of one message.
fn hash_alone<F: Function>(level: Level, message: &[u8], digest: &mut [u8; MAX_BLOCK]) {
    let (body, tail) = message.split_at(message.len() - message.len() % F::BLOCK);
    let mut buffer = [0; 2 * MAX_BLOCK];
    let end = pad::<F>(&mut buffer, [tail, &[]], message.len());
    let mut state = F::INITIAL;
    absorb::<F>(level, &mut state, body);
    absorb::<F>(level, &mut state, buffer.get(..end).unwrap_or_default());
    write_digest::<F>(&state, digest);
    buffer.zeroize();
    state.zeroize();
}

impl<F: Function> Drop for Midstates<F> {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hmac({:?}, {:?})", self.level, self.hash)
    }
}
