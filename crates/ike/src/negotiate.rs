//! Proposals: what we offer, what we choose, and whether the peer chose from what we offered.

use crypto::{Encr, Group, Integ, Prf, Suite};
use ike_wire::{Proposal, ProtocolId, SecurityAssociation, Transform, TransformType};

use crate::proposal::{EspProposal, EspSuite, IkeProposal, IkeSuite};

fn transform(kind: TransformType, id: u16) -> Transform {
    Transform::new(kind, id)
}

fn encr(encr: Encr) -> Transform {
    match encr.iana() {
        (id, Some(bits)) => Transform::with_key_length(TransformType::ENCR, id, bits),
        (id, None) => transform(TransformType::ENCR, id),
    }
}

fn ike_transforms(proposal: &IkeProposal) -> Vec<Transform> {
    let encrs = proposal.encr.iter().copied().map(encr);
    let integs = proposal.integ.iter().map(|integ| transform(TransformType::INTEG, integ.iana()));
    let prfs = proposal.prf.iter().map(|prf| transform(TransformType::PRF, prf.iana()));
    let groups = proposal.groups.iter().map(|group| transform(TransformType::KE, group.iana()));
    encrs.chain(integs).chain(prfs).chain(groups).collect()
}

fn esp_transforms(proposal: &EspProposal, with_groups: bool) -> Vec<Transform> {
    let encrs = proposal.encr.iter().copied().map(encr);
    let integs = proposal.integ.iter().map(|integ| transform(TransformType::INTEG, integ.iana()));
    let groups = proposal.groups.iter().filter(|_| with_groups);
    let groups = groups.map(|group| transform(TransformType::KE, group.iana()));
    let esn = proposal.esn.iter().map(|esn| transform(TransformType::ESN, u16::from(*esn)));
    encrs.chain(integs).chain(groups).chain(esn).collect()
}

fn numbered(
    protocol: ProtocolId,
    spi: &[u8],
    lists: impl Iterator<Item = Vec<Transform>>,
) -> SecurityAssociation {
    let proposals = (1..=u8::MAX)
        .zip(lists)
        .map(|(number, transforms)| Proposal { number, protocol, spi: spi.to_vec(), transforms })
        .collect();
    SecurityAssociation { proposals }
}

/// Our offer for an IKE SA; `spi` is empty but in a rekey.
pub(crate) fn offer_ike(proposals: &[IkeProposal], spi: &[u8]) -> SecurityAssociation {
    numbered(ProtocolId::IKE, spi, proposals.iter().map(ike_transforms))
}

/// Our offer for a CHILD SA. In IKE_AUTH there is no key exchange to offer a group for (RFC 7296 section 1.2).
pub(crate) fn offer_esp(proposals: &[EspProposal], spi: u32, with_groups: bool) -> SecurityAssociation {
    numbered(
        ProtocolId::ESP,
        &spi.to_be_bytes(),
        proposals.iter().map(|one| esp_transforms(one, with_groups)),
    )
}

/// One proposal of a peer in our terms: of each transform type what we know of it, and whether it had any.
#[derive(Default)]
struct Theirs {
    encr: Vec<Encr>,
    integ: Vec<Integ>,
    integ_needed: bool,
    prf: Vec<Prf>,
    groups: Vec<Group>,
    /// A group must be chosen: groups are listed, and NONE is not among them.
    group_needed: bool,
    esn: Vec<bool>,
    /// A transform of another type is listed, which we would have to choose from (RFC 7296 section 3.3.6).
    foreign: bool,
}

impl Theirs {
    fn read(proposal: &Proposal) -> Self {
        let mut theirs = Self::default();
        let (mut integs, mut no_integ, mut groups, mut no_group, mut esns) = (0, false, 0, false, 0);
        for transform in &proposal.transforms {
            // RFC 7296 section 3.3.6: a transform with an attribute we do not understand must not be chosen.
            let plain = transform.attributes.is_empty();
            match transform.kind {
                TransformType::ENCR => {
                    theirs.encr.extend(Encr::from_iana(transform.id, transform.key_length).filter(|_| plain));
                }
                TransformType::PRF => theirs.prf.extend(Prf::from_iana(transform.id).filter(|_| plain)),
                TransformType::INTEG => {
                    integs += 1;
                    no_integ |= transform.id == 0;
                    theirs.integ.extend(Integ::from_iana(transform.id).filter(|_| plain));
                }
                TransformType::KE => {
                    groups += 1;
                    no_group |= transform.id == 0;
                    theirs.groups.extend(Group::from_iana(transform.id).filter(|_| plain));
                }
                TransformType::ESN => {
                    esns += 1;
                    match transform.id {
                        0 => theirs.esn.push(false),
                        1 => theirs.esn.push(true),
                        _ => {}
                    }
                }
                // Additional key exchanges may be declined where NONE is listed (RFC 9370 section 2.2.2).
                _ => {
                    theirs.foreign |=
                        !proposal.transforms.iter().any(|t| t.kind == transform.kind && t.id == 0)
                }
            }
        }
        theirs.integ_needed = integs > 0 && !no_integ;
        theirs.group_needed = groups > 0 && !no_group;
        if esns == 0 {
            theirs.esn.push(false);
        }
        theirs
    }

    /// Encryption with the integrity that belongs to it, by our preference.
    fn suite(&self, encr: &[Encr], integ: &[Integ]) -> Option<Suite> {
        let encr = *encr.iter().find(|one| self.encr.contains(one))?;
        if encr.is_aead() {
            return Suite::new(encr, None).filter(|_| !self.integ_needed);
        }
        let integ = *integ.iter().find(|one| self.integ.contains(one))?;
        Suite::new(encr, Some(integ))
    }
}

/// What we choose for an IKE SA, and the answer that says so (without SPI).
pub(crate) struct IkeChoice {
    pub(crate) suite: IkeSuite,
    pub(crate) answer: SecurityAssociation,
    /// The peer's SPI, in a rekey.
    pub(crate) spi: Vec<u8>,
}

/// Our choice from a peer's offer: our order of preference, but among groups the one of its KE payload first, which
/// saves a round trip.
pub(crate) fn choose_ike(
    offered: &SecurityAssociation,
    ours: &[IkeProposal],
    ke: Option<Group>,
    spi: &[u8],
) -> Option<IkeChoice> {
    ours.iter().find_map(|one| {
        offered.proposals.iter().filter(|offer| offer.protocol == ProtocolId::IKE).find_map(|offer| {
            let theirs = Theirs::read(offer);
            let suite = theirs.suite(&one.encr, &one.integ)?;
            let prf = *one.prf.iter().find(|prf| theirs.prf.contains(prf))?;
            let group = pick_group(&one.groups, &theirs.groups, ke)?;
            let suite = IkeSuite { suite, prf, group };
            let transforms = ike_transforms(&IkeProposal::only(&suite));
            let answer =
                Proposal { number: offer.number, protocol: ProtocolId::IKE, spi: spi.to_vec(), transforms };
            let answer = SecurityAssociation { proposals: vec![answer] };
            (!theirs.foreign).then(|| IkeChoice { suite, answer, spi: offer.spi.clone() })
        })
    })
}

fn pick_group(ours: &[Group], theirs: &[Group], ke: Option<Group>) -> Option<Group> {
    ke.filter(|group| ours.contains(group) && theirs.contains(group))
        .or_else(|| ours.iter().copied().find(|group| theirs.contains(group)))
}

/// What we choose for a CHILD SA.
pub(crate) struct EspChoice {
    pub(crate) suite: EspSuite,
    pub(crate) number: u8,
    /// The peer's SPI.
    pub(crate) spi: u32,
    /// Our proposals name groups, and it is made without.
    pub(crate) without_pfs: bool,
}

/// Which exchange a CHILD SA is made in, as far as groups are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pfs {
    /// IKE_AUTH: groups play no part.
    Auth,
    /// CREATE_CHILD_SA.
    Create {
        /// The group of the peer's KE payload.
        ke: Option<Group>,
        /// May there be none although our proposals name some?
        none_accepted: bool,
    },
}

/// Our choice from a peer's offer.
pub(crate) fn choose_esp(offered: &SecurityAssociation, ours: &[EspProposal], pfs: Pfs) -> Option<EspChoice> {
    ours.iter().find_map(|one| {
        offered.proposals.iter().filter(|offer| offer.protocol == ProtocolId::ESP).find_map(|offer| {
            let theirs = Theirs::read(offer);
            let suite = theirs.suite(&one.encr, &one.integ)?;
            let esn = *one.esn.iter().find(|esn| theirs.esn.contains(esn))?;
            let group = esp_group(one, &theirs, pfs)?;
            let spi = u32::from_be_bytes(offer.spi.as_slice().try_into().ok()?);
            let without_pfs = pfs != Pfs::Auth && group.is_none() && !one.groups.is_empty();
            let suite = EspSuite { suite, group, esn };
            (!theirs.foreign && spi != 0).then_some(EspChoice {
                suite,
                number: offer.number,
                spi,
                without_pfs,
            })
        })
    })
}

/// `None`: no agreement. `Some(None)`: agreed on no group.
fn esp_group(ours: &EspProposal, theirs: &Theirs, pfs: Pfs) -> Option<Option<Group>> {
    let Pfs::Create { ke, none_accepted } = pfs else { return Some(None) };
    if let Some(group) = pick_group(&ours.groups, &theirs.groups, ke) {
        return Some(Some(group));
    }
    let none_possible = !theirs.group_needed && (ours.groups.is_empty() || none_accepted);
    none_possible.then_some(None)
}

/// The answer that says what we chose.
pub(crate) fn answer_esp(choice: &EspChoice, spi: u32) -> SecurityAssociation {
    let transforms = esp_transforms(&EspProposal::only(&choice.suite), true);
    let spi = spi.to_be_bytes().to_vec();
    let answer = Proposal { number: choice.number, protocol: ProtocolId::ESP, spi, transforms };
    SecurityAssociation { proposals: vec![answer] }
}

/// The peer's choice for an IKE SA, if it is one of what we offered: exactly one proposal with exactly one transform
/// of each type (RFC 7296 section 2.7). With it the SPI in it.
pub(crate) fn check_ike(
    answer: &SecurityAssociation,
    offered: &[IkeProposal],
) -> Option<(IkeSuite, Vec<u8>)> {
    let [one] = answer.proposals.as_slice() else { return None };
    let choice = choose_ike(answer, offered, None, &[])?;
    let expected = ike_transforms(&IkeProposal::only(&choice.suite)).len();
    (meaningful(one) == expected).then(|| (choice.suite, one.spi.clone()))
}

/// The peer's choice for a CHILD SA, likewise; with it the peer's SPI.
pub(crate) fn check_esp(
    answer: &SecurityAssociation,
    offered: &[EspProposal],
    pfs: Pfs,
) -> Option<(EspSuite, u32)> {
    let [one] = answer.proposals.as_slice() else { return None };
    let choice = choose_esp(answer, offered, pfs)?;
    let kinds = [TransformType::ENCR, TransformType::INTEG, TransformType::KE, TransformType::ESN];
    let once = kinds.into_iter().all(|kind| one.transforms.iter().filter(|t| t.kind == kind).count() <= 1);
    once.then_some((choice.suite, choice.spi))
}

/// Transforms other than the NONEs some peers spell out.
fn meaningful(proposal: &Proposal) -> usize {
    proposal
        .transforms
        .iter()
        .filter(|t| !(t.id == 0 && matches!(t.kind, TransformType::INTEG | TransformType::KE)))
        .count()
}

/// A peer's offer in strongSwan's words, as far as there are any, for people to compare.
pub(crate) fn describe(offered: &SecurityAssociation) -> Vec<String> {
    offered.proposals.iter().take(16).map(describe_one).collect()
}

fn describe_one(proposal: &Proposal) -> String {
    let words: Vec<String> = proposal.transforms.iter().take(32).filter_map(describe_transform).collect();
    words.join("-")
}

fn describe_transform(transform: &Transform) -> Option<String> {
    let known = match transform.kind {
        TransformType::ENCR => Encr::from_iana(transform.id, transform.key_length).map(|one| one.keyword()),
        TransformType::PRF => Prf::from_iana(transform.id).map(|one| one.keyword()),
        TransformType::INTEG if transform.id == 0 => return None,
        TransformType::INTEG => Integ::from_iana(transform.id).map(|one| one.keyword()),
        TransformType::KE if transform.id == 0 => Some("none"),
        TransformType::KE => Group::from_iana(transform.id).map(|one| one.keyword()),
        TransformType::ESN if transform.id == 0 => return None,
        TransformType::ESN => Some("esn"),
        _ => None,
    };
    let unknown = || match (transform.kind, transform.id) {
        (TransformType::ENCR, 3) => "3des".to_owned(),
        (TransformType::ENCR, 2) => "des".to_owned(),
        (TransformType::INTEG, 1) => "md5".to_owned(),
        (TransformType::PRF, 1) => "prfmd5".to_owned(),
        (TransformType::KE, 1) => "modp768".to_owned(),
        (kind, id) => format!("{kind}({id})").to_lowercase(),
    };
    Some(known.map_or_else(unknown, str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ike(text: &str) -> IkeProposal {
        IkeProposal::parse(text).unwrap()
    }

    fn esp(text: &str) -> EspProposal {
        EspProposal::parse(text).unwrap()
    }

    fn create(ke: Option<Group>, none_accepted: bool) -> Pfs {
        Pfs::Create { ke, none_accepted }
    }

    #[test]
    fn our_order_decides_and_the_peers_number_is_kept() {
        let offer = offer_ike(&[ike("aes128-sha1-modp2048"), ike("aes256-sha256-modp2048-ecp256")], &[]);
        let ours = [ike("aes256-sha256-ecp256-modp2048"), ike("aes128-sha1-modp2048")];
        let choice = choose_ike(&offer, &ours, None, &[]).unwrap();
        assert_eq!(choice.suite.to_string(), "aes256-sha256-ecp256");
        assert_eq!(choice.answer.proposals[0].number, 2);
        let choice = choose_ike(&offer, &ours, Some(Group::Modp2048), &[]).unwrap();
        assert_eq!(choice.suite.group, Group::Modp2048, "the group already paid for");
        assert!(check_ike(&choice.answer, &[ike("aes256-sha256-modp2048")]).is_some());
        assert!(check_ike(&choice.answer, &[ike("aes128-sha256-modp2048")]).is_none());
    }

    #[test]
    fn an_offer_without_key_exchange_is_taken_only_where_that_is_accepted() {
        let azure = offer_esp(&[esp("aes256gcm16"), esp("aes256-sha1")], 7, true);
        let ours = [esp("aes256-sha1-modp2048")];
        assert!(choose_esp(&azure, &ours, create(None, false)).is_none());
        let choice = choose_esp(&azure, &ours, create(None, true)).unwrap();
        assert!(choice.without_pfs && choice.suite.group.is_none());
        assert!(choose_esp(&azure, &ours, Pfs::Auth).is_some_and(|choice| !choice.without_pfs));
    }

    #[test]
    fn a_peer_that_insists_on_pfs_gets_it_only_from_us_if_we_name_the_group() {
        let offer = offer_esp(&[esp("aes256-sha1-modp2048")], 7, true);
        assert!(choose_esp(&offer, &[esp("aes256-sha1")], create(None, true)).is_none());
        let choice = choose_esp(&offer, &[esp("aes256-sha1-ecp256-modp2048")], create(None, false)).unwrap();
        assert_eq!(choice.suite.group, Some(Group::Modp2048));
    }

    #[test]
    fn a_missing_sequence_number_transform_means_32_bits() {
        let mut offer = offer_esp(&[esp("aes256gcm16")], 7, true);
        offer.proposals[0].transforms.retain(|t| t.kind != TransformType::ESN);
        assert!(choose_esp(&offer, &[esp("aes256gcm16")], Pfs::Auth).is_some());
        assert!(choose_esp(&offer, &[esp("aes256gcm16-esn")], Pfs::Auth).is_none());
    }

    #[test]
    fn an_integrity_of_none_beside_an_aead_is_no_obstacle() {
        let mut offer = offer_esp(&[esp("aes256gcm16")], 7, true);
        offer.proposals[0].transforms.push(Transform::new(TransformType::INTEG, 0));
        assert!(check_esp(&offer, &[esp("aes256gcm16")], Pfs::Auth).is_some());
    }

    #[test]
    fn what_a_peer_offers_is_told_in_users_words() {
        let mut offer = offer_esp(&[esp("aes256-sha1-esn")], 7, true);
        offer.proposals[0].transforms.push(Transform::new(TransformType::ENCR, 3));
        offer.proposals[0].transforms.push(Transform::new(TransformType::KE, 999));
        assert_eq!(describe(&offer), ["aes256-sha1-esn-3des-ke(999)"]);
    }
}
