//! The known word a mistyped one was probably meant to be.

/// The candidate with the fewest edits, if it is near enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_ascii_lowercase();
    let bound = (word.len() / 3).clamp(1, 3);
    let measured = candidates.into_iter().map(|known| (distance(&word, &known.to_ascii_lowercase()), known));
    let near = measured.filter(|(edits, known)| *edits <= bound || is_inside(&word, known));
    near.min().map(|(_, known)| known.to_owned())
}

/// One word is the beginning of the other, as `neighbour` without its end.
fn is_inside(word: &str, known: &str) -> bool {
    word.len() >= 3 && known.len() >= 3 && (known.starts_with(word) || word.starts_with(known))
}

/// Edits (insert, delete, replace, swap of neighbours) that turn one word into the other; words no key could be
/// are infinitely far.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (cell(&row, j) + usize::from(x != y)).min(cell(&row, j + 1) + 1).min(cell(&next, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_recognised() {
        let known = ["proposals", "lifetime", "local_id", "remote_id", "hold_time", "neighbor"];
        for (typed, meant) in [
            ("proposal", "proposals"),
            ("lifteime", "lifetime"),
            ("localid", "local_id"),
            ("remote-id", "remote_id"),
            ("holdtime", "hold_time"),
            ("neighbour", "neighbor"),
            ("HOLD_TIME", "hold_time"),
        ] {
            assert_eq!(nearest(typed, known).as_deref(), Some(meant), "{typed}");
        }
    }

    #[test]
    fn what_is_nowhere_near_suggests_nothing() {
        assert_eq!(nearest("colour", ["proposals", "esn"]), None);
        assert_eq!(nearest("", ["esn"]), None);
        assert_eq!(nearest(&"x".repeat(10_000), ["esn"]), None);
    }
}
