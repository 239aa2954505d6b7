//! The sending half: sequence numbers, trailer, encryption in place.

use crypto::{Frame, Sealer, Suite};

use crate::counters::Counters;
use crate::inbound::FEW;
use crate::lifetime::Told;
use crate::{
    Geometry, HEADER_LEN, Limits, MAX_RUN, Refusal, Refusals, SetupError, Soft, Tick, Unsealed, Usage, seq,
};

/// What an outbound SA is made of.
#[derive(Clone, Copy)]
pub struct OutboundParams<'a> {
    /// The SPI the peer chose.
    pub spi: u32,
    /// The negotiated algorithms.
    pub suite: Suite,
    /// Encryption key, an AEAD's salt behind it.
    pub encr_key: &'a [u8],
    /// Integrity key; empty for an AEAD.
    pub integ_key: &'a [u8],
    /// Secret the unpredictable IVs of CBC are made from; fresh for each SA.
    pub iv_seed: [u8; 16],
    /// 64-bit sequence numbers (RFC 4303 section 2.2.1).
    pub esn: bool,
    /// Lifetimes by volume.
    pub limits: Limits,
}

/// One outbound SA. Made once from keys, shared behind an `Arc`, never copied: the sequence counter that
/// keeps nonces apart lives here.
///
/// A batch goes out in two steps: [`reserve`](Self::reserve) its numbers, then
/// [`seal_batch`](Self::seal_batch) it with them. Numbers reserved and not used are lost, which the
/// receiver's window does not mind.
pub struct OutboundSa {
    spi: u32,
    esn: bool,
    geometry: Geometry,
    suite: Suite,
    sealer: Sealer,
    sequence: seq::Outbound,
    limits: Limits,
    told: Told,
    counters: Counters,
    refusals: Refusals,
}

/// Sequence numbers taken for one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The first of them.
    pub first: u64,
    /// How many: as many as were asked for, or fewer at the very end of the SA's life.
    pub count: u64,
    /// A soft limit this batch crosses; told once in an SA's life.
    pub soft: Option<Soft>,
}

/// One packet to be sealed where it lies.
pub struct Slot<'a> {
    /// Exactly [`Geometry::sealed_len`] octets, the inner packet already at [`Geometry::inner_offset`].
    pub bytes: &'a mut [u8],
    /// Octets of the inner packet.
    pub inner: usize,
    /// 4 or 41: see [`crate::next_header`].
    pub next_header: u8,
}

impl OutboundSa {
    /// An SA from keys.
    pub fn new(params: OutboundParams<'_>) -> Result<Self, SetupError> {
        if params.spi < 256 {
            return Err(SetupError::ReservedSpi(params.spi));
        }
        let sealer = Sealer::new(params.suite, params.encr_key, params.integ_key, params.iv_seed)
            .map_err(|_| SetupError::Keys)?;
        Ok(Self::with_sealer(params, sealer))
    }

    /// An SA that does everything but protect, to measure what that costs.
    #[cfg(feature = "unprotected")]
    #[must_use]
    pub fn unprotected(params: OutboundParams<'_>) -> Self {
        Self::with_sealer(params, Sealer::unprotected(params.suite))
    }

    fn with_sealer(params: OutboundParams<'_>, sealer: Sealer) -> Self {
        Self {
            spi: params.spi,
            esn: params.esn,
            geometry: Geometry::new(params.suite),
            suite: params.suite,
            sealer,
            sequence: seq::Outbound::new(params.esn, params.limits.hard_packets),
            limits: params.limits,
            told: Told::default(),
            counters: Counters::default(),
            refusals: Refusals::default(),
        }
    }

    /// The SPI on the wire.
    #[must_use]
    pub fn spi(&self) -> u32 {
        self.spi
    }

    /// The algorithms.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Whether sequence numbers have 64 bits.
    #[must_use]
    pub fn esn(&self) -> bool {
        self.esn
    }

    /// The lengths of this SA's packets.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Octets of the ESP packet that carries `inner` octets.
    #[must_use]
    pub fn sealed_len(&self, inner: usize) -> usize {
        self.geometry.sealed_len(inner)
    }

    /// What was sealed.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.counters.read()
    }

    /// What was refused.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The last sequence number given out; 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence.current()
    }

    /// Takes sequence numbers for `packets` packets of together `bytes` inner octets, and counts them.
    /// No number is ever given out twice, whichever threads ask.
    ///
    /// # Errors
    /// The sequence space or a hard lifetime is used up: nothing may be sent on this SA any more (or, for
    /// bytes, nothing this large).
    pub fn reserve(&self, packets: u64, bytes: u64, now: Tick) -> Result<Reservation, Refusal> {
        self.try_reserve(packets, bytes, now).inspect_err(|reason| self.refusals.count(*reason, packets))
    }

    fn try_reserve(&self, packets: u64, bytes: u64, now: Tick) -> Result<Reservation, Refusal> {
        self.limits.hard(self.counters.packets(), self.counters.bytes(), bytes)?;
        let (first, count) = self.sequence.take(packets).ok_or(Refusal::Exhausted)?;
        if count < packets {
            self.refusals.count(Refusal::Exhausted, packets - count);
        }
        // Of a batch cut short by the end of the sequence space, the granted share.
        let bytes = if count == packets { bytes } else { bytes / packets * count };
        let (packets_before, bytes_before) = self.counters.add(count, bytes, now);
        let soft =
            self.limits.soft(packets_before + count, bytes_before + bytes, first + (count - 1), self.esn);
        Ok(Reservation { first, count, soft: self.told.once(soft) })
    }

    /// Seals packets in place with the numbers `first`, `first + 1`, … of a reservation: header, IV,
    /// padding, trailer, ciphertext, ICV.
    ///
    /// The caller passes each number of a reservation once.
    ///
    /// # Errors
    /// Some slot has the wrong length for its inner packet. What is in the slots may then be clear text and
    /// must not be sent.
    pub fn seal_batch(&self, slots: &mut [Slot<'_>], first: u64) -> Result<(), Unsealed> {
        if slots.iter().any(|slot| slot.bytes.len() != self.sealed_len(slot.inner)) {
            return Err(Unsealed);
        }
        let mut number = first;
        for run in slots.chunks_mut(MAX_RUN) {
            // Room for few is made faster.
            if run.len() <= FEW {
                self.seal_run::<FEW>(run, number)?;
            } else {
                self.seal_run::<MAX_RUN>(run, number)?;
            }
            number += run.len() as u64;
        }
        Ok(())
    }

    /// At most `N` packets.
    fn seal_run<const N: usize>(&self, run: &mut [Slot<'_>], first: u64) -> Result<(), Unsealed> {
        let mut frames: [Frame<'_>; N] =
            std::array::from_fn(|_| Frame { bytes: &mut [], header: HEADER_LEN, esn_hi: None });
        let count = run.len();
        for ((slot, frame), number) in run.iter_mut().zip(frames.iter_mut()).zip(first..) {
            self.write_clear_parts(slot, number);
            frame.bytes = &mut *slot.bytes;
            frame.esn_hi = self.esn.then_some((number >> 32) as u32);
        }
        let frames = frames.get_mut(..count).ok_or(Unsealed)?;
        self.sealer.seal_batch(frames, first).map_err(|_| Unsealed)
    }

    fn write_clear_parts(&self, slot: &mut Slot<'_>, number: u64) {
        if let Some((spi, rest)) = slot.bytes.split_first_chunk_mut::<4>() {
            *spi = self.spi.to_be_bytes();
            if let Some(low) = rest.first_chunk_mut::<4>() {
                *low = (number as u32).to_be_bytes();
            }
        }
        self.geometry.write_trailer(slot.bytes, slot.inner, slot.next_header);
    }
}
