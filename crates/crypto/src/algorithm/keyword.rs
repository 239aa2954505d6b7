//! Tables of words: the first word of a value is the one it is shown by, later ones are also understood.

pub(super) type Table<T> = &'static [(&'static str, T)];

/// The word a value is shown by. Every value has a row; a test walks all of them.
pub(super) fn of<T: Copy + PartialEq>(table: Table<T>, value: T) -> &'static str {
    table.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

pub(super) fn find<T: Copy>(table: Table<T>, word: &str) -> Option<T> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, value)| *value)
}

pub(super) fn all<T>(table: Table<T>) -> impl Iterator<Item = &'static str> {
    table.iter().map(|(word, _)| *word)
}
