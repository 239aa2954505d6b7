//! What was written: a mirror of the file, every value with its place, unknown keys refused, nothing resolved.
//!
//! Read by hand from the parsed document instead of by derived code, so that one run finds every fault and not
//! only the first. [`section!`] makes a struct, its reader, and the list of its keys from one table.

mod sections;
mod values;

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) use sections::*;
pub(crate) use values::*;

use crate::error::{At, Fault, Faults};
use crate::nearest::nearest;

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) at: At,
}

/// Something a value of the file can be.
pub(crate) trait Read: Sized {
    /// `None` after the fault was noted.
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self>;
}

/// A table of the file with fixed keys.
pub(crate) trait Section: Read {
    /// Its keys.
    const KEYS: &'static [&'static str];
    /// Keys kept for later.
    const RESERVED: &'static [&'static str];
    /// Was the key written, though its value may have been refused?
    fn has(&self, key: &str) -> bool;
    /// Where the section stands.
    fn at(&self) -> &At;
}

/// Defines a section: `name: Type` a key and its type; after `reserved`, keys refused by name; after `want`, what
/// to say where something else stands.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty,)* } reserved [$($reserved:literal),*]) => {
        section! { $(#[$doc])* $name { $($key: $type,)* } reserved [$($reserved),*] want "a table" }
    };
    ($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty,)* } reserved [$($reserved:literal),*] want $want:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub(crate) struct $name {
            at: $crate::error::At,
            seen: Vec<&'static str>,
            $(pub(crate) $key: Option<$crate::raw::Written<$type>>,)*
        }

        impl $crate::raw::Read for $name {
            fn read(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                at: &$crate::error::At,
                faults: &mut $crate::error::Faults,
            ) -> Option<Self> {
                let table = $crate::raw::as_table(value, $want, at, faults)?;
                let mut section = Self { at: at.clone(), ..Self::default() };
                for (key, value) in table {
                    let place = $crate::raw::place(at, key, value);
                    match key.get_ref().as_ref() {
                        $(stringify!($key) => {
                            section.seen.push(stringify!($key));
                            section.$key = $crate::raw::Read::read(value, &place, faults)
                                .map(|value| $crate::raw::Written { value, at: place });
                        })*
                        _ => $crate::raw::refuse_key::<Self>(at, key, faults),
                    }
                }
                Some(section)
            }
        }

        impl $crate::raw::Section for $name {
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];
            const RESERVED: &'static [&'static str] = &[$($reserved),*];

            fn has(&self, key: &str) -> bool {
                self.seen.contains(&key)
            }

            fn at(&self) -> &$crate::error::At {
                &self.at
            }
        }
    };
}
pub(crate) use section;

/// Reads a whole document. `None` after faults of syntax, all of which are noted: what is left of a broken document
/// would only bring forth faults that are none.
pub(crate) fn read_document(text: &str, faults: &mut Faults) -> Option<Root> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let sound = errors.is_empty();
    for error in errors {
        let span = error.span().unwrap_or_default();
        // Only the message: the error's own display would print the line, which may hold a secret.
        faults.error(&At { key: String::new(), span }, Fault::Syntax(error.message().to_owned()));
    }
    let span = document.span();
    let value = Spanned::new(span, DeValue::Table(document.into_inner()));
    sound.then(|| Root::read(&value, &At::default(), faults)).flatten()
}

/// Tables of one kind by the names the user gave them.
#[derive(Clone, Debug)]
pub(crate) struct Named<T>(pub(crate) BTreeMap<String, Written<T>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Read> Read for Named<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        let table = as_table(value, "a table of named tables", at, faults)?;
        let mut named = BTreeMap::new();
        for (key, value) in table {
            let place = At { span: key.span(), ..place(at, key, value) };
            check_name(key.get_ref(), &place, faults);
            if let Some(value) = T::read(value, &place, faults) {
                named.insert(key.get_ref().to_string(), Written { value, at: place });
            }
        }
        Some(Self(named))
    }
}

/// Names go into device aliases, log fields and command lines.
fn check_name(name: &str, at: &At, faults: &mut Faults) {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    if name.is_empty() || name.len() > 64 || !name.chars().all(sound) {
        let why = "a name is 1 to 64 characters of A-Z a-z 0-9 _ - . :";
        faults.error(at, Fault::Value(why.to_owned()));
    }
}

fn as_table<'v, 'd>(
    value: &'v Spanned<DeValue<'d>>,
    want: &'static str,
    at: &At,
    faults: &mut Faults,
) -> Option<&'v DeTable<'d>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        faults.error(at, Fault::Type { want, found: kind(value) });
    }
    table
}

/// The place of an entry: that of its value, or of its key where the value is a table of its own.
fn place(parent: &At, key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> At {
    let span = if value.get_ref().as_table().is_some() { key.span() } else { value.span() };
    At { key: path(parent, key.get_ref()), span }
}

fn path(parent: &At, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if parent.key.is_empty() { key } else { format!("{}.{key}", parent.key) }
}

fn refuse_key<S: Section>(parent: &At, key: &Spanned<std::borrow::Cow<'_, str>>, faults: &mut Faults) {
    let word = key.get_ref().as_ref();
    let at = At { key: path(parent, word), span: key.span() };
    if S::RESERVED.contains(&word) {
        faults.error(&at, Fault::Reserved);
        return;
    }
    let belongs = SECTIONS.iter().find(|(_, keys)| keys.contains(&word));
    let fault = match nearest(word, S::KEYS.iter().copied()) {
        None if belongs.is_some() => {
            Fault::UnknownKey { nearest: None, belongs: belongs.map(|(section, _)| (*section).to_owned()) }
        }
        nearest => Fault::UnknownKey { nearest, belongs: None },
    };
    faults.error(&at, fault);
}

/// What a value is, in words.
fn kind(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
