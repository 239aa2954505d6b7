//! Suites as users write them: strongSwan's keywords, joined by dashes.

mod words;

use std::fmt;
use std::str::FromStr;

use crypto::{Encr, Group, Integ, Prf, Suite};

pub use words::ProposalError;
use words::{ESP, IKE, Words, push};

/// One proposal for the IKE SA: of each kind of transform, the acceptable ones, the dearest first.
///
/// `integ` is empty exactly when every cipher is an AEAD; the two never mix in one proposal (RFC 7296 section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeProposal {
    /// Ciphers. Never empty.
    pub encr: Vec<Encr>,
    /// Integrity algorithms; empty with AEADs.
    pub integ: Vec<Integ>,
    /// Pseudorandom functions. Never empty.
    pub prf: Vec<Prf>,
    /// Key exchange groups. Never empty.
    pub groups: Vec<Group>,
}

/// One proposal for a CHILD SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EspProposal {
    /// Ciphers. Never empty.
    pub encr: Vec<Encr>,
    /// Integrity algorithms; empty with AEADs.
    pub integ: Vec<Integ>,
    /// Groups for perfect forward secrecy at rekeys; empty: none.
    pub groups: Vec<Group>,
    /// Extended sequence numbers: the acceptable answers, the dearer first. Never empty.
    pub esn: Vec<bool>,
}

/// The suite of one IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeSuite {
    /// Protection of its messages.
    pub suite: Suite,
    /// Its pseudorandom function.
    pub prf: Prf,
    /// Its key exchange group.
    pub group: Group,
}

/// The suite of one CHILD SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspSuite {
    /// Protection of its packets.
    pub suite: Suite,
    /// The group of its own key exchange, when it had one.
    pub group: Option<Group>,
    /// Extended sequence numbers.
    pub esn: bool,
}

impl IkeProposal {
    /// Reads for example `aes256-sha1-modp1024`, `aes256gcm16-prfsha384-ecp384`, `aes128-aes256-sha256-modp2048-ecp256`.
    ///
    /// Without a `prf…` word the PRF follows the integrity algorithm; beside an AEAD a plain hash word means the PRF,
    /// both as strongSwan has it.
    ///
    /// # Errors
    /// Names the word, or what is missing.
    pub fn parse(text: &str) -> Result<Self, ProposalError> {
        let mut words = Words::read(text, IKE)?;
        let missing = |what| ProposalError::Missing { text: text.to_owned(), what };
        if words.prf.is_empty() {
            for integ in &words.integ {
                push(&mut words.prf, integ.prf());
            }
        }
        if words.aead() {
            words.integ.clear();
        } else if words.integ.is_empty() {
            return Err(missing("integrity algorithm"));
        }
        if words.prf.is_empty() {
            return Err(missing("pseudorandom function (prfsha256, …)"));
        }
        if words.groups.is_empty() {
            return Err(missing("key exchange group (modp2048, ecp256, …)"));
        }
        Ok(Self { encr: words.encr, integ: words.integ, prf: words.prf, groups: words.groups })
    }

    /// What is proposed when nothing is written: no SHA-1, nothing below 128 bits of strength but modp2048, which
    /// old peers need.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let groups = vec![
            Group::Curve25519,
            Group::Ecp256,
            Group::Ecp384,
            Group::Ecp521,
            Group::Modp3072,
            Group::Modp4096,
            Group::Modp2048,
        ];
        let prf = vec![Prf::HmacSha2_256, Prf::HmacSha2_384, Prf::HmacSha2_512];
        vec![
            Self { encr: strong_aeads(), integ: Vec::new(), prf: prf.clone(), groups: groups.clone() },
            Self { encr: strong_cbc(), integ: strong_integ(), prf, groups },
        ]
    }

    /// The words of this proposal that are too weak for a new design, to warn about.
    #[must_use]
    pub fn weak_words(&self) -> Vec<&'static str> {
        let prf = self.prf.iter().filter(|prf| **prf == Prf::HmacSha1).map(|prf| prf.keyword());
        weak_groups(&self.groups).chain(weak_integ(&self.integ)).chain(prf).collect()
    }

    /// Is any of it too weak for a new design: SHA-1, groups 2, 5 and 24?
    #[must_use]
    pub fn is_weak(&self) -> bool {
        !self.weak_words().is_empty()
    }

    /// The one proposal that allows exactly this suite.
    #[must_use]
    pub fn only(suite: &IkeSuite) -> Self {
        Self {
            encr: vec![suite.suite.encr],
            integ: suite.suite.integ.into_iter().collect(),
            prf: vec![suite.prf],
            groups: vec![suite.group],
        }
    }
}

impl EspProposal {
    /// Reads for example `aes256-sha1`, `aes256gcm16-ecp384`, `aes128gcm16-esn-noesn`. A group asks for perfect
    /// forward secrecy at rekeys; without `esn` words sequence numbers have 32 bits.
    ///
    /// # Errors
    /// Names the word, or what is missing.
    pub fn parse(text: &str) -> Result<Self, ProposalError> {
        let mut words = Words::read(text, ESP)?;
        match (words.aead(), words.integ.is_empty()) {
            (true, false) => return Err(ProposalError::NeedlessIntegrity(text.to_owned())),
            (false, true) => {
                return Err(ProposalError::Missing { text: text.to_owned(), what: "integrity algorithm" });
            }
            (true, true) | (false, false) => {}
        }
        if words.esn.is_empty() {
            words.esn.push(false);
        }
        Ok(Self { encr: words.encr, integ: words.integ, groups: words.groups, esn: words.esn })
    }

    /// What is proposed when nothing is written: no SHA-1, no PFS (too many peers differ), 32-bit sequence numbers.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let esn = vec![false];
        vec![
            Self { encr: strong_aeads(), integ: Vec::new(), groups: Vec::new(), esn: esn.clone() },
            Self { encr: strong_cbc(), integ: strong_integ(), groups: Vec::new(), esn },
        ]
    }

    /// The words of this proposal that are too weak for a new design, to warn about.
    #[must_use]
    pub fn weak_words(&self) -> Vec<&'static str> {
        weak_groups(&self.groups).chain(weak_integ(&self.integ)).collect()
    }

    /// Is any of it too weak for a new design: SHA-1, groups 2, 5 and 24?
    #[must_use]
    pub fn is_weak(&self) -> bool {
        !self.weak_words().is_empty()
    }

    /// The one proposal that allows exactly this suite.
    #[must_use]
    pub fn only(suite: &EspSuite) -> Self {
        Self {
            encr: vec![suite.suite.encr],
            integ: suite.suite.integ.into_iter().collect(),
            groups: suite.group.into_iter().collect(),
            esn: vec![suite.esn],
        }
    }
}

fn strong_aeads() -> Vec<Encr> {
    ["aes256gcm16", "aes128gcm16", "chacha20poly1305"].into_iter().filter_map(Encr::from_keyword).collect()
}

fn strong_cbc() -> Vec<Encr> {
    ["aes256", "aes128"].into_iter().filter_map(Encr::from_keyword).collect()
}

fn strong_integ() -> Vec<Integ> {
    vec![Integ::HmacSha2_256_128, Integ::HmacSha2_384_192, Integ::HmacSha2_512_256]
}

fn weak_groups(groups: &[Group]) -> impl Iterator<Item = &'static str> {
    groups
        .iter()
        .filter(|group| matches!(group, Group::Modp1024 | Group::Modp1536 | Group::Modp2048s256))
        .map(|group| group.keyword())
}

fn weak_integ(integ: &[Integ]) -> impl Iterator<Item = &'static str> {
    integ.iter().filter(|integ| **integ == Integ::HmacSha1_96).map(|integ| integ.keyword())
}

impl FromStr for IkeProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, ProposalError> {
        Self::parse(text)
    }
}

impl FromStr for EspProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, ProposalError> {
        Self::parse(text)
    }
}

impl fmt::Display for IkeProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let implied: Vec<Prf> = self.integ.iter().map(|integ| integ.prf()).collect();
        let prf = if implied == self.prf { &[][..] } else { &self.prf };
        let words = self.encr.iter().map(|word| word.keyword());
        let words = words.chain(self.integ.iter().map(|word| word.keyword()));
        let words = words.chain(prf.iter().map(|word| word.keyword()));
        f.write_str(&words.chain(self.groups.iter().map(|word| word.keyword())).collect::<Vec<_>>().join("-"))
    }
}

impl fmt::Display for EspProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let esn = if self.esn == [false] { &[][..] } else { &self.esn };
        let words = self.encr.iter().map(|word| word.keyword());
        let words = words.chain(self.integ.iter().map(|word| word.keyword()));
        let words = words.chain(self.groups.iter().map(|word| word.keyword()));
        let words = words.chain(esn.iter().map(|esn| if *esn { "esn" } else { "noesn" }));
        f.write_str(&words.collect::<Vec<_>>().join("-"))
    }
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IkeProposal::only(self).fmt(f)
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EspProposal::only(self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_azure_needs_is_read_and_called_weak() {
        let ike = IkeProposal::parse("aes256-sha1-modp1024").unwrap();
        assert_eq!(ike.prf, [Prf::HmacSha1]);
        assert_eq!(ike.groups, [Group::Modp1024]);
        assert_eq!(ike.weak_words(), ["modp1024", "sha1", "prfsha1"]);
        assert!(EspProposal::parse("aes256-sha1").unwrap().is_weak());
        assert!(!EspProposal::parse("aes256gcm16-ecp256").unwrap().is_weak());
    }

    #[test]
    fn every_proposal_prints_as_it_was_written() {
        for text in [
            "aes256-sha1-modp1024",
            "aes256gcm16-prfsha384-ecp384",
            "aes128-aes256-sha256-sha512-modp2048-curve25519",
            "aes256-sha256-prfsha512-ecp256",
        ] {
            assert_eq!(IkeProposal::parse(text).unwrap().to_string(), text);
        }
        for text in ["aes256-sha1", "aes256gcm16", "aes128gcm8-modp3072-esn-noesn", "chacha20poly1305-esn"] {
            assert_eq!(EspProposal::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn beside_an_aead_a_hash_word_means_the_prf() {
        let ike = IkeProposal::parse("aes256gcm16-sha384-ecp384").unwrap();
        assert!(ike.integ.is_empty());
        assert_eq!(ike.prf, [Prf::HmacSha2_384]);
    }

    #[test]
    fn the_error_names_the_bad_word_and_the_nearest_good_one() {
        let error = IkeProposal::parse("aes256-sha1-modp1025").unwrap_err();
        assert_eq!(
            error,
            ProposalError::Unknown { word: "modp1025".into(), nearest: Some("modp1024".into()) }
        );
        assert!(matches!(EspProposal::parse("aes256-sha1-prfsha1"), Err(ProposalError::Misplaced { .. })));
        assert!(matches!(
            IkeProposal::parse("aes256-sha1-modp1024-esn"),
            Err(ProposalError::Misplaced { .. })
        ));
        assert!(matches!(IkeProposal::parse("aes256-modp1024"), Err(ProposalError::Missing { .. })));
        assert!(matches!(IkeProposal::parse("aes256-sha1"), Err(ProposalError::Missing { .. })));
        assert!(matches!(IkeProposal::parse("aes256gcm16-ecp256"), Err(ProposalError::Missing { .. })));
        assert!(matches!(EspProposal::parse("aes256-aes256gcm16-sha1"), Err(ProposalError::Mixed(_))));
        assert!(matches!(EspProposal::parse("aes256gcm16-sha1"), Err(ProposalError::NeedlessIntegrity(_))));
        assert!(matches!(EspProposal::parse("3des-sha1"), Err(ProposalError::Unknown { .. })));
        assert!(EspProposal::parse("").is_err());
        assert!(EspProposal::parse(&"aes256-".repeat(1000)).is_err());
    }

    #[test]
    fn the_defaults_are_strong_and_sound() {
        for proposal in IkeProposal::defaults() {
            assert!(!proposal.is_weak());
            assert_eq!(IkeProposal::parse(&proposal.to_string()).unwrap(), proposal);
        }
        for proposal in EspProposal::defaults() {
            assert!(!proposal.is_weak());
            assert_eq!(EspProposal::parse(&proposal.to_string()).unwrap(), proposal);
        }
    }
}
