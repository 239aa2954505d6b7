//! Protection of an IKE SA's messages: the SK payload sealed and opened (RFC 7296 section 3.14, RFC 5282).

use std::sync::Arc;

use crypto::{Frame, Opener, Sealer, Secret, Suite};
use ike_wire::{Header, Outer, Payload, ProtectedLayout, encode_fragments, encode_protected, unpad};

use crate::window::Packets;

/// Both directions' keys. No counter is ever used twice: each sealed datagram takes the next.
pub(crate) struct Crypt {
    sealer: Sealer,
    opener: Opener,
    layout: ProtectedLayout,
    sealed: u64,
}

impl Crypt {
    /// `None` when the keys do not fit the suite.
    pub(crate) fn new(
        suite: Suite,
        (encr_out, integ_out): (&Secret, &Secret),
        (encr_in, integ_in): (&Secret, &Secret),
        iv_seed: [u8; 16],
    ) -> Option<Self> {
        Some(Self {
            sealer: Sealer::new(suite, encr_out, integ_out, iv_seed).ok()?,
            opener: Opener::new(suite, encr_in, integ_in).ok()?,
            layout: ProtectedLayout {
                iv_len: suite.iv_len(),
                block: suite.block(),
                icv_len: suite.icv_len(),
            },
            sealed: 0,
        })
    }

    /// A message ready to send: in one datagram, or in several of at most `fragment` octets where the peer knows
    /// fragments and it does not fit one.
    pub(crate) fn seal(
        &mut self,
        header: &Header,
        payloads: &[Payload],
        fragment: Option<usize>,
    ) -> Option<Packets> {
        let messages = match fragment {
            Some(size) => encode_fragments(header, payloads, self.layout, size).ok()?,
            None => vec![encode_protected(header, payloads, self.layout).ok()?],
        };
        messages
            .into_iter()
            .map(|mut message| {
                self.sealed = self.sealed.checked_add(1)?;
                let frame = Frame { bytes: &mut message.bytes, header: message.header_len, esn_hi: None };
                self.sealer.seal(frame, self.sealed).ok()?;
                Some(Arc::from(message.bytes))
            })
            .collect()
    }

    /// The plaintext of a message's encrypted payload, padding taken off; `None` when it is not the peer's.
    pub(crate) fn open(&self, outer: &Outer, datagram: &[u8]) -> Option<Vec<u8>> {
        let body = outer.protected.as_ref()?;
        let mut bytes = datagram.to_vec();
        let frame = Frame { bytes: &mut bytes, header: body.header_len, esn_hi: None };
        let range = self.opener.open(frame).ok()?;
        unpad(bytes.get(range)?).ok().map(<[u8]>::to_vec)
    }
}
