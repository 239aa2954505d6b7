//! Open registries: a number with names for the values we know.
//!
//! An unknown number is a value like any other: it survives a round trip and prints in hex.

/// Defines an open newtype with one constant a known value.
///
/// `Debug` and `Display` print the registry's own name of the value, or `Type(0x..)` for an unknown one.
macro_rules! registry {
    (
        $(#[$doc:meta])*
        pub struct $name:ident($int:ty) {
            $( $(#[$value_doc:meta])* $value:ident = $number:literal, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        #[allow(missing_docs, reason = "each constant is the registry's own name")]
        impl $name {
            $( $(#[$value_doc])* pub const $value: Self = Self($number); )*
        }

        impl $name {
            /// The registry's name of this value; `None` for a value not known here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $number => Some(stringify!($value)), )*
                    _ => None,
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!(stringify!($name), "({:#x})"), self.0),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self, f)
            }
        }

        impl From<$int> for $name {
            fn from(number: $int) -> Self {
                Self(number)
            }
        }
    };
}

pub(crate) use registry;
