//! What everybody wants, by origin: whoever looks at the wishes of one origin passes by no other's.

use std::collections::{BTreeMap, BTreeSet};

use super::{Key, Origin, Wish};

/// Every wish. There is at most one of each origin for a key.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    by_origin: [BTreeMap<Key, Wish>; Origin::ALL.len()],
}

impl Wishes {
    /// True if it is another than before.
    pub(super) fn insert(&mut self, key: Key, origin: Origin, wish: Wish) -> bool {
        let Some(own) = self.by_origin.get_mut(origin as usize) else { return false };
        if own.get(&key) == Some(&wish) {
            return false;
        }
        own.insert(key, wish);
        true
    }

    /// True if there was one.
    pub(super) fn remove(&mut self, key: &Key, origin: Origin) -> bool {
        self.by_origin.get_mut(origin as usize).is_some_and(|own| own.remove(key).is_some())
    }

    pub(super) fn get(&self, key: &Key, origin: Origin) -> Option<&Wish> {
        self.by_origin.get(origin as usize)?.get(key)
    }

    /// The one that counts for a key: that of the first origin in their order.
    pub(super) fn first(&self, key: &Key) -> Option<(Origin, &Wish)> {
        Origin::ALL.into_iter().find_map(|origin| Some((origin, self.get(key, origin)?)))
    }

    /// Those of one origin, in order of keys.
    pub(super) fn of(&self, origin: Origin) -> impl Iterator<Item = (&Key, &Wish)> {
        self.by_origin.get(origin as usize).into_iter().flatten()
    }

    /// Every key that somebody wants, once and in order.
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        self.by_origin.iter().flat_map(BTreeMap::keys).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::Hop;

    #[test]
    fn each_origin_has_its_place_and_the_first_of_them_counts() {
        for (index, origin) in Origin::ALL.into_iter().enumerate() {
            assert_eq!(origin as usize, index, "{}", origin.name());
        }
        let key = |text: &str| Key { table: 254, prefix: text.parse().unwrap() };
        let wish = |from: &str| Wish::new(Hop::Unreachable, from.to_owned());
        let mut wishes = Wishes::default();
        assert!(wishes.insert(key("10.0.0.0/8"), Origin::Stale, wish("a")));
        assert!(wishes.insert(key("10.0.0.0/8"), Origin::Static, wish("b")));
        assert!(!wishes.insert(key("10.0.0.0/8"), Origin::Static, wish("b")), "the same again");
        assert!(wishes.insert(key("10.0.0.0/8"), Origin::Static, wish("c")));
        assert!(wishes.insert(key("11.0.0.0/8"), Origin::Peer, wish("d")));
        assert_eq!(wishes.first(&key("10.0.0.0/8")), Some((Origin::Static, &wish("c"))));
        assert_eq!(wishes.of(Origin::Stale).map(|(key, _)| *key).collect::<Vec<_>>(), [key("10.0.0.0/8")]);
        assert_eq!(wishes.keys().len(), 2);
        assert!(wishes.remove(&key("10.0.0.0/8"), Origin::Static));
        assert!(!wishes.remove(&key("10.0.0.0/8"), Origin::Static));
        assert_eq!(wishes.first(&key("10.0.0.0/8")), Some((Origin::Stale, &wish("a"))));
    }
}
