//! What a packet is carried as: itself, segments or fragments.

/// Packets to be written one by one, each straight to its place.
pub(crate) trait Pieces {
    /// How many.
    fn count(&self) -> usize;

    /// Octets of piece `index`.
    fn len(&self, index: usize) -> usize;

    /// Writes piece `index` into `place`, which is [`len`](Self::len) octets long.
    fn write(&self, index: usize, place: &mut [u8]);
}
