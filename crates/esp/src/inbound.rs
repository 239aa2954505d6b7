//! The receiving half: replay check, integrity, decryption in place, trailer.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crypto::{Frame, Opener, Suite};

use crate::counters::Counters;
use crate::geometry::read_trailer;
use crate::lifetime::Told;
use crate::replay::Window;
use crate::{
    Geometry, HEADER_LEN, Limits, Refusal, Refusals, SetupError, Soft, Tick, Usage, next_header, seq,
};

/// Packets sealed or opened in one go: as many as one UDP segmentation batch carries.
pub const MAX_RUN: usize = 64;

/// Packets of a short run: acknowledgements, calls.
pub(crate) const FEW: usize = 4;

/// What an inbound SA is made of.
#[derive(Clone, Copy)]
pub struct InboundParams<'a> {
    /// The SPI we chose.
    pub spi: u32,
    /// The negotiated algorithms.
    pub suite: Suite,
    /// Encryption key, an AEAD's salt behind it.
    pub encr_key: &'a [u8],
    /// Integrity key; empty for an AEAD.
    pub integ_key: &'a [u8],
    /// 64-bit sequence numbers (RFC 4303 section 2.2.1).
    pub esn: bool,
    /// Packets of the replay window: [`crate::replay::MIN`] to [`crate::replay::MAX`].
    pub replay_window: u32,
    /// Lifetimes by volume.
    pub limits: Limits,
}

/// One inbound SA. Made once from keys, shared behind an `Arc`, never copied: the replay window lives here.
pub struct InboundSa {
    spi: u32,
    esn: bool,
    geometry: Geometry,
    suite: Suite,
    opener: Opener,
    window: Mutex<Window>,
    limits: Limits,
    told: Told,
    counters: Counters,
    refusals: Refusals,
}

/// One received ESP packet, and what became of it.
pub struct Segment<'a> {
    /// The packet from its SPI on. Once opened, the inner packet lies in it.
    pub bytes: &'a mut [u8],
    /// The outcome; before opening, [`Refusal::Length`].
    pub outcome: Result<Opened, Refusal>,
}

impl<'a> Segment<'a> {
    /// A packet not yet opened.
    #[must_use]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, outcome: Err(Refusal::Length) }
    }
}

/// An authentic packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the inner packet lies in the segment, padding taken off.
    pub inner: Range<usize>,
    /// 4 or 41.
    pub next_header: u8,
    /// Its sequence number is the highest received so far, so its outer addresses are the peer's newest
    /// (RFC 7296 section 2.23: follow only authenticated and fresh packets).
    pub newest: bool,
}

/// What a run of packets meant for the SA as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunReport {
    /// The first authentic packet of this SA's life was in the run.
    pub first_packet: bool,
    /// A soft limit this run crosses; told once in an SA's life.
    pub soft: Option<Soft>,
    /// A packet was refused because a hard lifetime is used up: nothing is received on this SA any more.
    pub exhausted: bool,
}

impl InboundSa {
    /// An SA from keys.
    pub fn new(params: InboundParams<'_>) -> Result<Self, SetupError> {
        if params.spi < 256 {
            return Err(SetupError::ReservedSpi(params.spi));
        }
        let window = Window::new(params.replay_window).ok_or(SetupError::Window(params.replay_window))?;
        let opener =
            Opener::new(params.suite, params.encr_key, params.integ_key).map_err(|_| SetupError::Keys)?;
        Ok(Self::with_opener(params, opener, window))
    }

    /// The other end of [`crate::OutboundSa::unprotected`].
    #[cfg(feature = "unprotected")]
    #[must_use]
    pub fn unprotected(params: InboundParams<'_>) -> Option<Self> {
        let window = Window::new(params.replay_window)?;
        Some(Self::with_opener(params, Opener::unprotected(params.suite), window))
    }

    fn with_opener(params: InboundParams<'_>, opener: Opener, window: Window) -> Self {
        Self {
            spi: params.spi,
            esn: params.esn,
            geometry: Geometry::new(params.suite),
            suite: params.suite,
            opener,
            window: Mutex::new(window),
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

    /// What was accepted.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.counters.read()
    }

    /// What was refused.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The highest sequence number received; 0 before the first.
    #[must_use]
    pub fn highest_sequence(&self) -> u64 {
        self.window().top()
    }

    /// Opens a run of packets of this SPI in place and leaves each one's outcome in its segment. The
    /// replay window is taken once for the run: asked before each integrity check, moved after it.
    pub fn open_batch(&self, segments: &mut [Segment<'_>], now: Tick) -> RunReport {
        {
            let mut window = self.window();
            for run in segments.chunks_mut(MAX_RUN) {
                // Room for few is made faster.
                if run.len() <= FEW {
                    self.open_run::<FEW>(run, &mut window);
                } else {
                    self.open_run::<MAX_RUN>(run, &mut window);
                }
            }
        }
        let (mut packets, mut bytes, mut exhausted) = (0, 0, false);
        for segment in segments.iter() {
            match &segment.outcome {
                Ok(opened) => {
                    packets += 1;
                    bytes += opened.inner.len() as u64;
                }
                Err(reason) => {
                    exhausted |= matches!(reason, Refusal::HardBytes | Refusal::HardPackets);
                    self.refusals.count(*reason, 1);
                }
            }
        }
        if packets == 0 {
            return RunReport { exhausted, ..RunReport::default() };
        }
        let (packets_before, bytes_before) = self.counters.add(packets, bytes, now);
        // The sequence space is the sender's to watch.
        let soft = self.limits.soft(packets_before + packets, bytes_before + bytes, 0, self.esn);
        RunReport { first_packet: packets_before == 0, soft: self.told.once(soft), exhausted }
    }

    /// At most `N` packets.
    fn open_run<const N: usize>(&self, run: &mut [Segment<'_>], window: &mut Window) {
        let mut frames: [Frame<'_>; N] =
            std::array::from_fn(|_| Frame { bytes: &mut [], header: HEADER_LEN, esn_hi: None });
        let mut numbers = [0u64; N];
        let mut bodies: [Option<Range<usize>>; N] = std::array::from_fn(|_| None);
        let mut count = 0;
        for segment in run.iter_mut() {
            match self.admit(segment.bytes, window) {
                Err(reason) => segment.outcome = Err(reason),
                Ok(number) => {
                    // Marks the segment as under way; settled below.
                    segment.outcome = Err(Refusal::Forged);
                    if let (Some(frame), Some(slot)) = (frames.get_mut(count), numbers.get_mut(count)) {
                        frame.bytes = &mut *segment.bytes;
                        frame.esn_hi = self.esn.then_some((number >> 32) as u32);
                        *slot = number;
                        count += 1;
                    }
                }
            }
        }
        if let Some(frames) = frames.get_mut(..count) {
            self.opener.open_batch(frames, |index, body| {
                if let Some(slot) = bodies.get_mut(index) {
                    *slot = body.ok();
                }
            });
        }
        let under_way = run.iter_mut().filter(|segment| segment.outcome == Err(Refusal::Forged));
        for ((segment, number), body) in under_way.zip(numbers).zip(bodies) {
            if let Some(body) = body {
                segment.outcome = settle(segment.bytes, body, number, window);
            }
        }
    }

    /// What can be refused before the costly part.
    fn admit(&self, packet: &[u8], window: &Window) -> Result<u64, Refusal> {
        if !self.geometry.plausible(packet.len()) {
            return Err(Refusal::Length);
        }
        let number = self.sequence_of(packet, window)?;
        window.check(number)?;
        self.limits.spent(self.counters.packets(), self.counters.bytes())?;
        Ok(number)
    }

    /// The full sequence number the packet claims.
    fn sequence_of(&self, packet: &[u8], window: &Window) -> Result<u64, Refusal> {
        let low = packet
            .get(4..HEADER_LEN)
            .and_then(|octets| octets.try_into().ok())
            .map(u32::from_be_bytes)
            .ok_or(Refusal::Length)?;
        if self.esn {
            seq::infer(low, window.top(), window.size()).ok_or(Refusal::TooOld)
        } else {
            Ok(u64::from(low))
        }
    }

    /// A panic elsewhere cannot leave the window half moved in a way that matters: at worst one number
    /// stays unmarked on an SA whose thread died.
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An authentic packet moves the window, and then its trailer says what it is.
fn settle(packet: &[u8], body: Range<usize>, number: u64, window: &mut Window) -> Result<Opened, Refusal> {
    let newest = window.update(number)?;
    let (inner, next) = packet.get(body.clone()).and_then(read_trailer).ok_or(Refusal::Padding)?;
    match next {
        next_header::IPV4 | next_header::IPV6 => {
            Ok(Opened { inner: body.start..body.start + inner, next_header: next, newest })
        }
        next_header::NONE => Err(Refusal::Dummy),
        _ => Err(Refusal::NextHeader),
    }
}
