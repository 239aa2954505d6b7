//! What a neighbour's import or export line means, and what it says about one prefix.

use std::fmt;
use std::sync::Arc;

use inet::Prefix;

use crate::prefix_list::{Action, PrefixList};

/// The policy of one direction of one neighbour, its names resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Everything passes.
    Any,
    /// Nothing passes, because the operator wrote so.
    None,
    /// Nothing passes, because nothing was written: eBGP without a policy neither accepts nor
    /// announces (RFC 8212 sections 2.1 and 2.2). Shown in words of its own, since it is mostly an oversight.
    #[default]
    Unset,
    /// What the list permits passes.
    List(Arc<PrefixList>),
}

/// What a policy says about one prefix, and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Permitted by "any" (no number) or by a rule of the list.
    Permit(Option<u32>),
    /// Denied.
    Deny(Denial),
}

/// Why a policy keeps a prefix out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The policy is "none".
    None,
    /// There is no policy (RFC 8212).
    Unset,
    /// A rule of the list, or its implicit deny.
    List {
        /// The list.
        list: Arc<str>,
        /// The rule; `None` is the implicit deny at the end.
        seq: Option<u32>,
    },
}

impl Policy {
    /// What this policy says about `prefix`.
    #[must_use]
    pub fn evaluate(&self, prefix: &Prefix) -> Ruling {
        match self {
            Self::Any => Ruling::Permit(None),
            Self::None => Ruling::Deny(Denial::None),
            Self::Unset => Ruling::Deny(Denial::Unset),
            Self::List(list) => {
                let found = list.evaluate(prefix);
                match found.action {
                    Action::Permit => Ruling::Permit(found.seq),
                    Action::Deny => {
                        Ruling::Deny(Denial::List { list: Arc::clone(list.name()), seq: found.seq })
                    }
                }
            }
        }
    }

    /// May `prefix` pass?
    #[must_use]
    pub fn permits(&self, prefix: &Prefix) -> bool {
        matches!(self.evaluate(prefix), Ruling::Permit(_))
    }

    /// Can nothing ever pass? True for "none", for no policy, and for a list that permits nothing.
    #[must_use]
    pub fn denies_all(&self) -> bool {
        match self {
            Self::Any => false,
            Self::None | Self::Unset => true,
            Self::List(list) => list.rules().iter().all(|rule| rule.action == Action::Deny),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::None => f.write_str("none"),
            Self::Unset => f.write_str("none (not set: RFC 8212)"),
            Self::List(list) => f.write_str(list.name()),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("the policy is \"none\""),
            Self::Unset => f.write_str("no policy is set, which means none (RFC 8212)"),
            Self::List { list, seq: Some(seq) } => write!(f, "denied by {list} seq {seq}"),
            Self::List { list, seq: None } => write!(f, "denied by {list}, no rule matches"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix_list::Rule;

    #[test]
    fn each_policy_says_who_decided() {
        let prefix: Prefix = "10.0.0.0/8".parse().unwrap();
        let list = |action| {
            Policy::List(Arc::new(PrefixList::new("in", vec![Rule::exact(7, action, prefix)]).unwrap()))
        };
        assert_eq!(Policy::Any.evaluate(&prefix), Ruling::Permit(None));
        assert_eq!(Policy::default().evaluate(&prefix), Ruling::Deny(Denial::Unset));
        assert_eq!(list(Action::Permit).evaluate(&prefix), Ruling::Permit(Some(7)));
        let Ruling::Deny(denial) = list(Action::Deny).evaluate(&prefix) else { panic!("must be denied") };
        assert_eq!(denial.to_string(), "denied by in seq 7");
        let Ruling::Deny(denial) = list(Action::Permit).evaluate(&"11.0.0.0/8".parse().unwrap()) else {
            panic!("must be denied")
        };
        assert_eq!(denial.to_string(), "denied by in, no rule matches");
    }

    #[test]
    fn a_policy_that_can_let_nothing_through_is_known() {
        let only_deny = Rule::exact(1, Action::Deny, "10.0.0.0/8".parse().unwrap());
        assert!(Policy::List(Arc::new(PrefixList::new("x", vec![only_deny]).unwrap())).denies_all());
        assert!(Policy::Unset.denies_all() && Policy::None.denies_all() && !Policy::Any.denies_all());
    }
}
