//! The keywords of a proposal, and what to say of one that is none.

use crypto::{Encr, Group, Integ, Prf};

/// Why a text is no proposal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// A word that is no algorithm.
    #[error("'{word}' is no algorithm known here{}", hint(.nearest.as_deref()))]
    Unknown {
        /// The word.
        word: String,
        /// The known word nearest to it.
        nearest: Option<String>,
    },
    /// A word that has no meaning in this kind of proposal.
    #[error("'{word}' does not belong in {place} proposal")]
    Misplaced {
        /// The word.
        word: String,
        /// "an IKE" or "an ESP".
        place: &'static str,
    },
    /// A transform that must be there is not.
    #[error("'{text}' names no {what}")]
    Missing {
        /// The proposal.
        text: String,
        /// What it lacks.
        what: &'static str,
    },
    /// AEAD ciphers and others in one proposal.
    #[error(
        "'{0}' mixes ciphers that need an integrity algorithm with ones that bring their own: write two proposals"
    )]
    Mixed(String),
    /// An integrity algorithm beside an AEAD.
    #[error("'{0}' names an integrity algorithm, but its ciphers bring their own")]
    NeedlessIntegrity(String),
    /// More words than any peer would read.
    #[error("'{0}' is too long")]
    TooLong(String),
}

/// Words in one proposal.
const MAX_WORDS: usize = 48;

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|word| format!(" (did you mean '{word}'?)")).unwrap_or_default()
}

enum Word {
    Encr(Encr),
    Integ(Integ),
    Prf(Prf),
    Group(Group),
    Esn(bool),
}

/// The words of one proposal, by kind and in order.
#[derive(Default)]
pub(super) struct Words {
    pub(super) encr: Vec<Encr>,
    pub(super) integ: Vec<Integ>,
    pub(super) prf: Vec<Prf>,
    pub(super) groups: Vec<Group>,
    pub(super) esn: Vec<bool>,
}

impl Words {
    pub(super) fn read(text: &str, place: &'static str) -> Result<Self, ProposalError> {
        let mut words = Self::default();
        // A trailing "!" means "strict" in ipsec.conf; a list here is always strict.
        let body = text.trim().trim_end_matches('!');
        for (index, word) in body.split('-').map(str::trim).enumerate() {
            if index >= MAX_WORDS {
                return Err(ProposalError::TooLong(text.to_owned()));
            }
            let misplaced = || ProposalError::Misplaced { word: word.to_owned(), place };
            match parse_word(word)? {
                Word::Encr(encr) => push(&mut words.encr, encr),
                Word::Integ(integ) => push(&mut words.integ, integ),
                Word::Group(group) => push(&mut words.groups, group),
                Word::Prf(prf) if place == IKE => push(&mut words.prf, prf),
                Word::Esn(esn) if place == ESP => push(&mut words.esn, esn),
                Word::Prf(_) | Word::Esn(_) => return Err(misplaced()),
            }
        }
        if words.encr.is_empty() {
            return Err(ProposalError::Missing { text: text.to_owned(), what: "cipher" });
        }
        if words.encr.iter().any(|encr| encr.is_aead()) != words.encr.iter().all(|encr| encr.is_aead()) {
            return Err(ProposalError::Mixed(text.to_owned()));
        }
        Ok(words)
    }

    pub(super) fn aead(&self) -> bool {
        self.encr.iter().all(|encr| encr.is_aead())
    }
}

pub(super) const IKE: &str = "an IKE";
pub(super) const ESP: &str = "an ESP";

pub(super) fn push<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn parse_word(word: &str) -> Result<Word, ProposalError> {
    let word = word.to_ascii_lowercase();
    match word.as_str() {
        "esn" => return Ok(Word::Esn(true)),
        "noesn" => return Ok(Word::Esn(false)),
        _ => {}
    }
    let alias = match word.as_str() {
        "ecp521" | "ecp512" => "ecp521",
        "chacha20poly1305compat" => "chacha20poly1305",
        other => other,
    };
    Encr::from_keyword(alias)
        .map(Word::Encr)
        .or_else(|| Integ::from_keyword(alias).map(Word::Integ))
        .or_else(|| Prf::from_keyword(alias).map(Word::Prf))
        .or_else(|| Group::from_keyword(alias).map(Word::Group))
        .ok_or_else(|| ProposalError::Unknown { nearest: nearest(&word), word })
}

/// The known word with the fewest edits, if there is one near enough to have been meant.
fn nearest(word: &str) -> Option<String> {
    let known = Encr::keywords()
        .chain(Integ::keywords())
        .chain(Prf::keywords())
        .chain(Group::keywords())
        .chain(["esn", "noesn"]);
    known
        .map(|known| (edits(word, known), known))
        .filter(|(n, _)| *n <= 2)
        .min()
        .map(|(_, known)| known.to_owned())
}

/// Levenshtein's distance, cut short for words no keyword could be.
fn edits(a: &str, b: &str) -> usize {
    if a.len() > 32 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut next = vec![i + 1];
        let mut last = i + 1;
        for ((y, above), diagonal) in b.bytes().zip(row.iter().skip(1)).zip(&row) {
            last = (diagonal + usize::from(x != y)).min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
