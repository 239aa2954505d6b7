//! A map from prefixes that answers with the longest match.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Prefix;

/// Prefixes and what belongs to each. Iteration is in prefix order, so it never depends on history.
///
/// One ordered map a length that is in use: a look-up costs one search a distinct length, which suits
/// routing tables of a site (a handful of lengths); the per-packet path never asks it.
#[derive(Clone, Debug)]
pub struct PrefixMap<T> {
    v4: BTreeMap<u8, BTreeMap<Prefix, T>>,
    v6: BTreeMap<u8, BTreeMap<Prefix, T>>,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<T> PrefixMap<T> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `value` under `prefix`; what stood there before comes back.
    pub fn insert(&mut self, prefix: Prefix, value: T) -> Option<T> {
        self.family_mut(prefix).entry(prefix.len()).or_default().insert(prefix, value)
    }

    /// Takes `prefix` out.
    pub fn remove(&mut self, prefix: &Prefix) -> Option<T> {
        let family = self.family_mut(*prefix);
        let level = family.get_mut(&prefix.len())?;
        let value = level.remove(prefix);
        if level.is_empty() {
            family.remove(&prefix.len());
        }
        value
    }

    /// What stands under exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: &Prefix) -> Option<&T> {
        self.family(prefix.is_ipv4()).get(&prefix.len())?.get(prefix)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, prefix: &Prefix) -> Option<&mut T> {
        self.family_mut(*prefix).get_mut(&prefix.len())?.get_mut(prefix)
    }

    /// The longest prefix that holds `address`, with its value.
    #[must_use]
    pub fn longest_match(&self, address: IpAddr) -> Option<(Prefix, &T)> {
        self.family(address.is_ipv4()).iter().rev().find_map(|(length, level)| {
            let prefix = Prefix::new(address, *length).ok()?;
            level.get(&prefix).map(|value| (prefix, value))
        })
    }

    /// All entries, IPv4 first, shorter prefixes before longer ones, then by address.
    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &T)> {
        self.v4.values().chain(self.v6.values()).flatten()
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.values().chain(self.v6.values()).map(BTreeMap::len).sum()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn family(&self, ipv4: bool) -> &BTreeMap<u8, BTreeMap<Prefix, T>> {
        if ipv4 { &self.v4 } else { &self.v6 }
    }

    fn family_mut(&mut self, prefix: Prefix) -> &mut BTreeMap<u8, BTreeMap<Prefix, T>> {
        if prefix.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

impl<T> FromIterator<(Prefix, T)> for PrefixMap<T> {
    fn from_iter<I: IntoIterator<Item = (Prefix, T)>>(items: I) -> Self {
        let mut map = Self::new();
        for (prefix, value) in items {
            map.insert(prefix, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(prefixes: &[&str]) -> PrefixMap<String> {
        prefixes.iter().map(|text| (text.parse().unwrap(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_longest_match_wins_whatever_the_order_of_insertion() {
        let map = map(&["10.1.2.0/24", "0.0.0.0/0", "10.1.0.0/16", "::/0"]);
        let found = |address: &str| map.longest_match(address.parse().unwrap()).map(|(_, v)| v.as_str());
        assert_eq!(found("10.1.2.3"), Some("10.1.2.0/24"));
        assert_eq!(found("10.1.9.3"), Some("10.1.0.0/16"));
        assert_eq!(found("192.0.2.1"), Some("0.0.0.0/0"));
        assert_eq!(found("2001:db8::1"), Some("::/0"));
    }

    #[test]
    fn what_is_removed_no_longer_matches() {
        let mut map = map(&["10.0.0.0/8", "10.1.0.0/16"]);
        assert!(map.remove(&"10.1.0.0/16".parse().unwrap()).is_some());
        assert_eq!(map.longest_match("10.1.0.1".parse().unwrap()).unwrap().0.len(), 8);
        assert_eq!(map.len(), 1);
        assert!(map.remove(&"10.1.0.0/16".parse().unwrap()).is_none());
    }
}
