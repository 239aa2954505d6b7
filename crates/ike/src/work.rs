//! Key exchange as work for someone else: it takes milliseconds, and the engine's turn must not.

use crypto::{Group, KeyPair, Secret};
use zeroize::Zeroizing;

/// The number of one piece of work. A result for a number no longer waited for is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// A computation to perform on any thread; [`Work::perform`] is the whole of it.
pub enum Work {
    /// Make a key pair.
    Generate {
        /// In this group.
        group: Group,
        /// From this randomness, used for nothing else.
        seed: Zeroizing<[u8; 32]>,
    },
    /// Make the shared secret of our pair and the peer's public value.
    Agree {
        /// Ours.
        pair: Box<KeyPair>,
        /// The peer's, not yet checked.
        peer: Vec<u8>,
    },
    /// Both at once, as a responder does.
    Respond {
        /// In this group.
        group: Group,
        /// From this randomness, used for nothing else.
        seed: Zeroizing<[u8; 32]>,
        /// The peer's public value, not yet checked.
        peer: Vec<u8>,
    },
}

/// What came of it.
pub enum WorkOutcome {
    /// The pair asked for.
    Pair(Box<KeyPair>),
    /// The shared secret.
    Shared(Secret),
    /// Our public value and the shared secret.
    Responded {
        /// Ours.
        public: Vec<u8>,
        /// Shared.
        shared: Secret,
    },
    /// The peer's public value failed its checks (RFC 6989).
    BadPublicValue,
    /// It was never computed: too many others wait.
    Refused,
}

impl Work {
    /// Which of three kinds it is, each of which should be computed in its turn: 0 ends an exchange of ours, 1 answers
    /// one of a peer's, 2 begins one.
    #[must_use]
    pub fn turn(&self) -> usize {
        match self {
            Self::Agree { .. } => 0,
            Self::Respond { .. } => 1,
            Self::Generate { .. } => 2,
        }
    }

    /// Gives it up uncomputed, its secrets wiped. Whoever waits for it has to hear that as it hears of any outcome.
    #[must_use]
    pub fn refuse(self) -> WorkOutcome {
        WorkOutcome::Refused
    }

    /// Does it: milliseconds of arithmetic, no I/O.
    #[must_use]
    pub fn perform(self) -> WorkOutcome {
        match self {
            Self::Generate { group, seed } => WorkOutcome::Pair(Box::new(KeyPair::generate(group, *seed))),
            Self::Agree { pair, peer } => match pair.agree(&peer) {
                Ok(shared) => WorkOutcome::Shared(shared),
                Err(_) => WorkOutcome::BadPublicValue,
            },
            Self::Respond { group, seed, peer } => {
                let pair = KeyPair::generate(group, *seed);
                match pair.agree(&peer) {
                    Ok(shared) => WorkOutcome::Responded { public: pair.public().to_vec(), shared },
                    Err(_) => WorkOutcome::BadPublicValue,
                }
            }
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Generate { .. } => "Generate(..)",
            Self::Agree { .. } => "Agree(..)",
            Self::Respond { .. } => "Respond(..)",
        })
    }
}

impl std::fmt::Debug for WorkOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pair(_) => "Pair(..)",
            Self::Shared(_) => "Shared(..)",
            Self::Responded { .. } => "Responded(..)",
            Self::BadPublicValue => "BadPublicValue",
            Self::Refused => "Refused",
        })
    }
}
