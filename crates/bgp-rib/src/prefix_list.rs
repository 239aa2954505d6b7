//! Prefix lists as every router has them: numbered rules, the first match wins, no match is a deny.

use std::fmt;
use std::sync::Arc;

use inet::Prefix;

/// What a rule does with the prefixes it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Let the route through.
    Permit,
    /// Keep the route out.
    Deny,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
        })
    }
}

/// One numbered rule. Without `ge` and `le` it matches its prefix alone; with either it matches every
/// prefix inside `prefix` whose length is in the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's place: lower numbers are asked first. 1 to 4294967295, unique in its list.
    pub seq: u32,
    /// What happens to a match.
    pub action: Action,
    /// The prefix to match.
    pub prefix: Prefix,
    /// The shortest length that matches; without it the prefix's own.
    pub ge: Option<u8>,
    /// The longest length that matches; without it 32 or 128 if `ge` stands, else the prefix's own.
    pub le: Option<u8>,
    /// The operator's words.
    pub description: Option<String>,
}

impl Rule {
    /// A rule for exactly one prefix.
    #[must_use]
    pub fn exact(seq: u32, action: Action, prefix: Prefix) -> Self {
        Self { seq, action, prefix, ge: None, le: None, description: None }
    }

    /// The lengths this rule matches, both included.
    #[must_use]
    pub fn lengths(&self) -> (u8, u8) {
        let longest = longest(&self.prefix);
        match (self.ge, self.le) {
            (None, None) => (self.prefix.len(), self.prefix.len()),
            (Some(ge), None) => (ge, longest),
            (None, Some(le)) => (self.prefix.len(), le),
            (Some(ge), Some(le)) => (ge, le),
        }
    }

    /// Does the rule match this prefix?
    #[must_use]
    pub fn matches(&self, prefix: &Prefix) -> bool {
        let (shortest, longest) = self.lengths();
        self.prefix.covers(prefix) && (shortest..=longest).contains(&prefix.len())
    }

    /// `len <= ge <= le <= 32|128`, as every router asks.
    fn check(&self) -> Result<(), PrefixListError> {
        let (shortest, top) = self.lengths();
        let sound = self.prefix.len() <= shortest && shortest <= top && top <= longest(&self.prefix);
        let fault = PrefixListError::Lengths {
            seq: self.seq,
            prefix: self.prefix,
            ge: shortest,
            le: top,
            longest: longest(&self.prefix),
        };
        if sound { Ok(()) } else { Err(fault) }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seq {} {} {}", self.seq, self.action, self.prefix)?;
        if let Some(ge) = self.ge {
            write!(f, " ge {ge}")?;
        }
        if let Some(le) = self.le {
            write!(f, " le {le}")?;
        }
        Ok(())
    }
}

/// Why rules make no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixListError {
    /// Two rules claim one place.
    #[error("seq {0} is used twice")]
    Duplicate(u32),
    /// Number 0 is kept for the implicit deny at the end.
    #[error("seq 0 is not allowed (1 to 4294967295)")]
    Zero,
    /// The length bounds contradict each other or the prefix.
    #[error("seq {seq}: want {} <= ge <= le <= {longest} for {prefix}, but ge is {ge} and le is {le}", .prefix.len())]
    Lengths {
        /// The rule.
        seq: u32,
        /// Its prefix.
        prefix: Prefix,
        /// The lower bound in force.
        ge: u8,
        /// The upper bound in force.
        le: u8,
        /// 32 or 128.
        longest: u8,
    },
}

/// A named list of rules in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixList {
    name: Arc<str>,
    rules: Vec<Rule>,
}

/// What a list says about one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Permit or deny.
    pub action: Action,
    /// The rule that decided; `None` is the implicit deny at the end.
    pub seq: Option<u32>,
}

impl PrefixList {
    /// Sorts the rules by number; refuses doubles and contradictory lengths.
    pub fn new(name: impl Into<Arc<str>>, mut rules: Vec<Rule>) -> Result<Self, PrefixListError> {
        rules.sort_by_key(|rule| rule.seq);
        for rule in &rules {
            if rule.seq == 0 {
                return Err(PrefixListError::Zero);
            }
            rule.check()?;
        }
        for pair in rules.windows(2) {
            if let [a, b] = pair
                && a.seq == b.seq
            {
                return Err(PrefixListError::Duplicate(a.seq));
            }
        }
        Ok(Self { name: name.into(), rules })
    }

    /// The name the operator gave it.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The rules, lowest number first.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The first rule that matches decides; where none does the prefix is denied.
    #[must_use]
    pub fn evaluate(&self, prefix: &Prefix) -> Match {
        match self.rules.iter().find(|rule| rule.matches(prefix)) {
            Some(rule) => Match { action: rule.action, seq: Some(rule.seq) },
            None => Match { action: Action::Deny, seq: None },
        }
    }
}

fn longest(prefix: &Prefix) -> u8 {
    if prefix.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn rule(seq: u32, action: Action, text: &str, ge: Option<u8>, le: Option<u8>) -> Rule {
        Rule { ge, le, ..Rule::exact(seq, action, prefix(text)) }
    }

    fn list(rules: Vec<Rule>) -> PrefixList {
        PrefixList::new("l", rules).unwrap()
    }

    #[test]
    fn the_lowest_number_that_matches_wins_whatever_the_order_written() {
        let list = list(vec![
            rule(20, Action::Permit, "10.0.0.0/8", None, Some(32)),
            rule(10, Action::Deny, "10.1.0.0/16", None, Some(32)),
        ]);
        assert_eq!(list.evaluate(&prefix("10.1.2.0/24")), Match { action: Action::Deny, seq: Some(10) });
        assert_eq!(list.evaluate(&prefix("10.2.2.0/24")), Match { action: Action::Permit, seq: Some(20) });
    }

    #[test]
    fn what_no_rule_matches_is_denied_without_a_number() {
        let list = list(vec![rule(10, Action::Permit, "10.0.0.0/8", None, None)]);
        assert_eq!(list.evaluate(&prefix("10.0.0.0/9")), Match { action: Action::Deny, seq: None });
        assert_eq!(PrefixList::new("empty", Vec::new()).unwrap().evaluate(&prefix("::/0")).seq, None);
    }

    #[test]
    fn ge_and_le_bound_the_length_as_in_every_router() {
        let cases = [
            (None, None, [(8, true), (9, false), (32, false)]),
            (Some(16), None, [(15, false), (16, true), (32, true)]),
            (None, Some(24), [(8, true), (24, true), (25, false)]),
            (Some(16), Some(24), [(15, false), (16, true), (25, false)]),
        ];
        for (ge, le, expected) in cases {
            let rule = rule(1, Action::Permit, "10.0.0.0/8", ge, le);
            for (length, matches) in expected {
                assert_eq!(rule.matches(&prefix(&format!("10.0.0.0/{length}"))), matches, "{rule} /{length}");
            }
            assert!(!rule.matches(&prefix("11.0.0.0/16")), "another network never matches");
            assert!(!rule.matches(&prefix("a00::/16")), "another family never matches");
        }
    }

    #[test]
    fn a_default_route_with_le_matches_everything_of_its_family() {
        let rule = rule(5, Action::Permit, "0.0.0.0/0", None, Some(32));
        assert!(rule.matches(&prefix("0.0.0.0/0")) && rule.matches(&prefix("203.0.113.1/32")));
        assert!(!rule.matches(&prefix("::/0")));
    }

    #[test]
    fn contradictory_rules_are_refused() {
        for (ge, le) in
            [(Some(7), None), (None, Some(7)), (Some(20), Some(19)), (None, Some(33)), (Some(40), None)]
        {
            let bad = PrefixList::new("l", vec![rule(1, Action::Permit, "10.0.0.0/8", ge, le)]);
            assert!(matches!(bad, Err(PrefixListError::Lengths { seq: 1, .. })), "{ge:?} {le:?}");
        }
        let twice = vec![rule(1, Action::Permit, "10.0.0.0/8", None, None); 2];
        assert_eq!(PrefixList::new("l", twice), Err(PrefixListError::Duplicate(1)));
        let zero = vec![rule(0, Action::Permit, "10.0.0.0/8", None, None)];
        assert_eq!(PrefixList::new("l", zero), Err(PrefixListError::Zero));
    }
}
