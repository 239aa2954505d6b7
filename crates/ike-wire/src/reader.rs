//! A cursor that only goes forward and never past its end.

use crate::error::Error;

/// Reads fields in order; each names itself for the error.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` octets.
    pub(crate) fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let Some((head, rest)) = self.rest.split_at_checked(n) else {
            return Err(Error::Truncated { what, needed: n, left: self.left() });
        };
        self.rest = rest;
        Ok(head)
    }

    /// All octets left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A reader of the next `n` octets alone: a length that lies inside it cannot reach beyond it.
    pub(crate) fn sub(&mut self, n: usize, what: &'static str) -> Result<Self, Error> {
        self.take(n, what).map(Self::new)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let Some((head, rest)) = self.rest.split_first_chunk() else {
            return Err(Error::Truncated { what, needed: N, left: self.left() });
        };
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn skip(&mut self, n: usize, what: &'static str) -> Result<(), Error> {
        self.take(n, what).map(|_| ())
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// Refuses left-over octets by name.
    pub(crate) const fn finish(self, what: &'static str) -> Result<(), Error> {
        if self.is_empty() { Ok(()) } else { Err(Error::Leftover { what, left: self.left() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_past_the_end_is_named_and_takes_nothing() {
        let mut r = Reader::new(&[1, 2, 3]);
        assert_eq!(r.u32("four"), Err(Error::Truncated { what: "four", needed: 4, left: 3 }));
        assert_eq!(r.u16("two"), Ok(0x0102));
        assert_eq!(r.clone().finish("end"), Err(Error::Leftover { what: "end", left: 1 }));
        assert_eq!(r.rest(), [3]);
        assert_eq!(r.finish("end"), Ok(()));
    }

    #[test]
    fn a_sub_reader_cannot_leave_its_bounds() {
        let mut r = Reader::new(&[1, 2, 3, 4]);
        let mut sub = r.sub(2, "sub").unwrap();
        assert!(sub.u32("inside").is_err());
        assert_eq!(r.u16("behind"), Ok(0x0304));
        assert!(r.sub(usize::MAX, "lie").is_err());
    }
}
