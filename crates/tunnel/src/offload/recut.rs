//! Frames for a TUN device that the kernel refuses as they are: cut again into the packets they were joined of.

use std::io::IoSlice;

use crate::inner::Inner;
use crate::offload::split::{Plan, Unsplittable};
use crate::offload::virtio::{self, Gso, Header};

/// What a frame to be written holds, by its header.
#[must_use]
pub fn gso(frame: &[IoSlice<'_>]) -> Gso {
    frame.first().and_then(|slice| Header::split(slice)).map_or(Gso::None, |(header, _)| header.gso)
}

/// Cuts frames again. Its memory is taken with the first of them, which most devices never see.
#[derive(Debug, Default)]
pub struct Recut {
    /// The frame in one piece.
    whole: Vec<u8>,
    /// One packet behind a header of zeros: the kernel verifies its checksum itself.
    single: Vec<u8>,
}

impl Recut {
    /// Gives `write` each packet of a super-packet as a frame of its own, in order: as it came from the peer but for the
    /// identification of an IPv4 packet that may not be fragmented, which has no meaning (RFC 6864 section 4.1).
    ///
    /// # Errors
    /// It is no super-packet, or none that the coalescer made; nothing was written.
    pub fn cut(&mut self, frame: &[IoSlice<'_>], mut write: impl FnMut(&[u8])) -> Result<(), Unsplittable> {
        self.whole.clear();
        frame.iter().for_each(|slice| self.whole.extend_from_slice(slice));
        let (header, packet) = Header::split(&self.whole).ok_or(Unsplittable)?;
        let inner = Inner::parse(packet).map_err(|_| Unsplittable)?;
        let plan = Plan::new(packet, &inner, &header)?;
        for index in 0..plan.count() {
            self.single.clear();
            self.single.resize(virtio::LEN + plan.len(index), 0);
            plan.write(packet, index, self.single.get_mut(virtio::LEN..).unwrap_or_default());
            write(&self.single);
        }
        Ok(())
    }
}
