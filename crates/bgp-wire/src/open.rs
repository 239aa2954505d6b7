//! OPEN (RFC 4271 section 4.2, RFC 5492, RFC 9072).

use std::net::Ipv4Addr;

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{
    AS_TRANS, Capability, Families, Family, GracefulRestart, MessageType, Notification, NotificationCode,
};

/// The only version spoken.
const VERSION: u8 = 4;
/// Optional parameter: capabilities (RFC 5492).
const PARAMETER_CAPABILITIES: u8 = 2;
/// Marks the extended form of the optional parameters (RFC 9072).
const PARAMETER_EXTENDED: u8 = 255;

/// An OPEN message. Whether its values suit this session is not judged here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The AS field of 16 bits; [`AS_TRANS`] when the AS does not fit.
    pub my_as: u16,
    /// The offered hold time in seconds; 0 asks for none.
    pub hold_time: u16,
    /// The BGP identifier.
    pub router_id: Ipv4Addr,
    /// The capabilities in the order written, duplicates included.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// Ours: the AS field is [`AS_TRANS`] when `asn` needs four octets (RFC 6793 section 4.2.1).
    #[must_use]
    pub fn new(asn: u32, hold_time: u16, router_id: Ipv4Addr, capabilities: Vec<Capability>) -> Self {
        Self { my_as: u16::try_from(asn).unwrap_or(AS_TRANS), hold_time, router_id, capabilities }
    }

    /// The AS of the 4-octet capability; the last one written counts.
    #[must_use]
    pub fn as4(&self) -> Option<u32> {
        self.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::As4(asn) => Some(*asn),
            _ => None,
        })
    }

    /// The sender's AS: of the capability, or else of the field.
    #[must_use]
    pub fn asn(&self) -> u32 {
        self.as4().unwrap_or(u32::from(self.my_as))
    }

    /// The families of ours that were offered; IPv4 unicast when no multiprotocol capability is there at all
    /// (RFC 4760 section 8: such a speaker carries IPv4 unicast only).
    #[must_use]
    pub fn families(&self) -> Families {
        let mut any = false;
        let mut families = Families::NONE;
        for capability in &self.capabilities {
            if let Capability::Multiprotocol { afi, safi } = capability {
                any = true;
                if let Some(family) = Family::from_wire(*afi, *safi) {
                    families.insert(family);
                }
            }
        }
        if any { families } else { Families::IPV4 }
    }

    /// Is this capability among them?
    #[must_use]
    pub fn has(&self, capability: &Capability) -> bool {
        self.capabilities.contains(capability)
    }

    /// The graceful restart capability; the last one written counts.
    #[must_use]
    pub fn graceful_restart(&self) -> Option<&GracefulRestart> {
        self.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::GracefulRestart(graceful) => Some(graceful),
            _ => None,
        })
    }

    /// Parses the body.
    ///
    /// # Errors
    /// 2/1 for another version (data: 4), 2/4 for an optional parameter that is no list of capabilities,
    /// 2/0 for a broken structure.
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let malformed = || Notification::from(NotificationCode::OPEN_UNSPECIFIC);
        let mut reader = Reader::new(body);
        // Another version may have another form, so it is judged before anything else.
        if reader.u8().ok_or_else(malformed)? != VERSION {
            return Err(Notification::new(NotificationCode::UNSUPPORTED_VERSION, vec![0, VERSION]));
        }
        let my_as = reader.u16().ok_or_else(malformed)?;
        let hold_time = reader.u16().ok_or_else(malformed)?;
        let router_id = reader.array::<4>().map(Ipv4Addr::from).ok_or_else(malformed)?;
        let capabilities = decode_parameters(reader).map_err(|error| error.unwrap_or_else(malformed))?;
        Ok(Self { my_as, hold_time, router_id, capabilities })
    }

    /// The message; all capabilities in one parameter, which the oldest peers read too.
    /// Capabilities that do not fit in 255 octets are left out from the end.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for capability in &self.capabilities {
            let bytes = capability.to_bytes();
            if list.len() + bytes.len() > 253 {
                break;
            }
            list.extend(bytes);
        }
        let mut writer = Writer::new(MessageType::OPEN);
        writer.u8(VERSION);
        writer.u16(self.my_as);
        writer.u16(self.hold_time);
        writer.slice(&self.router_id.octets());
        match u8::try_from(list.len()) {
            Ok(length) if length > 0 => {
                writer.u8(length.saturating_add(2));
                writer.u8(PARAMETER_CAPABILITIES);
                writer.u8(length);
                writer.slice(&list);
            }
            _ => writer.u8(0),
        }
        writer.finish()
    }
}

/// The optional parameters, in the form of RFC 4271 or of RFC 9072; `Err(None)` for a broken structure.
fn decode_parameters(mut reader: Reader<'_>) -> Result<Vec<Capability>, Option<Notification>> {
    let length = usize::from(reader.u8().ok_or(None)?);
    // "If the value of the 'Non-Ext OP Type' field is 255, then the encoding described above is used"
    // (RFC 9072 section 2); a length of 0 there is an error only in the old form.
    let mut ahead = reader;
    let extended = length != 0 && ahead.u8() == Some(PARAMETER_EXTENDED);
    let declared = if extended {
        reader = ahead;
        usize::from(reader.u16().ok_or(None)?)
    } else {
        length
    };
    if declared != reader.remaining() {
        return Err(None);
    }
    let mut capabilities = Vec::new();
    while let Some(kind) = reader.u8() {
        let length = if extended { reader.u16() } else { reader.u8().map(u16::from) }.ok_or(None)?;
        let value = reader.take(usize::from(length)).ok_or(None)?;
        if kind != PARAMETER_CAPABILITIES {
            return Err(Some(NotificationCode::UNSUPPORTED_PARAMETER.into()));
        }
        capabilities.extend(Capability::decode_list(value)?);
    }
    Ok(capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(parameters: &[u8]) -> Vec<u8> {
        let mut body = vec![4, 0xfd, 0xe9, 0, 180, 192, 0, 2, 1];
        body.extend(parameters);
        body
    }

    #[test]
    fn capabilities_in_one_parameter_or_in_several_read_the_same() {
        let one = Open::decode(&open(&[10, 2, 8, 1, 4, 0, 1, 0, 1, 2, 0])).unwrap();
        let two = Open::decode(&open(&[12, 2, 6, 1, 4, 0, 1, 0, 1, 2, 2, 2, 0])).unwrap();
        assert_eq!(one, two);
        assert_eq!(one.families(), Families::IPV4);
    }

    #[test]
    fn the_extended_form_has_lengths_of_two_octets() {
        let got = Open::decode(&open(&[255, 255, 0, 9, 2, 0, 6, 65, 4, 0, 1, 0, 0])).unwrap();
        assert_eq!(got.asn(), 65536);
        // The one-octet length may be anything but 0 (RFC 9072 section 2).
        let odd = Open::decode(&open(&[7, 255, 0, 9, 2, 0, 6, 65, 4, 0, 1, 0, 0])).unwrap();
        assert_eq!(odd, got);
    }

    #[test]
    fn another_version_is_answered_with_ours() {
        let mut body = open(&[0]);
        body[0] = 3;
        let error = Open::decode(&body).unwrap_err();
        assert_eq!((error.code, error.data), (NotificationCode::UNSUPPORTED_VERSION, vec![0, 4]));
    }

    #[test]
    fn parameters_of_another_type_are_refused_by_code() {
        let error = Open::decode(&open(&[3, 1, 1, 0])).unwrap_err();
        assert_eq!(error.code, NotificationCode::UNSUPPORTED_PARAMETER);
    }

    #[test]
    fn broken_lengths_are_malformed() {
        for bad in
            [&[5, 2, 2, 2, 0][..], &[4, 2, 3, 2, 0], &[4, 2, 2, 2, 1], &[6, 2, 4, 65, 2, 0, 0], &[1, 2]]
        {
            assert_eq!(
                Open::decode(&open(bad)).unwrap_err().code,
                NotificationCode::OPEN_UNSPECIFIC,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_peer_without_multiprotocol_carries_ipv4() {
        assert_eq!(Open::decode(&open(&[0])).unwrap().families(), Families::IPV4);
        let vpn = Open::decode(&open(&[8, 2, 6, 1, 4, 0, 1, 0, 128])).unwrap();
        assert_eq!(vpn.families(), Families::NONE);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let open = Open::new(
            4_200_000_000,
            180,
            Ipv4Addr::new(203, 0, 113, 1),
            vec![
                Capability::family(Family::Ipv4Unicast),
                Capability::family(Family::Ipv6Unicast),
                Capability::RouteRefresh,
                Capability::EnhancedRefresh,
                Capability::As4(4_200_000_000),
                Capability::GracefulRestart(GracefulRestart {
                    restarting: true,
                    notification: true,
                    time: 120,
                    families: vec![crate::GracefulFamily { afi: 1, safi: 1, forwarding: true }],
                }),
                Capability::Fqdn { host: "gw".into(), domain: "example.org".into() },
            ],
        );
        assert_eq!(open.my_as, AS_TRANS);
        assert_eq!(Open::decode(&open.encode()[19..]).unwrap(), open);
    }
}
