//! Enums that are stored and printed as words.

/// Makes an enum whose variants are stored as the given words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every one, in the usual order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word that is stored and printed.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|one| one.as_str() == text)
                    .ok_or_else(|| $crate::words::UnknownWord::new(text, &[$($word),*]))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl From<$name> for $crate::db::Param {
            fn from(value: $name) -> Self {
                value.as_str().into()
            }
        }

        impl From<Option<$name>> for $crate::db::Param {
            fn from(value: Option<$name>) -> Self {
                value.map($name::as_str).into()
            }
        }
    };
}

pub(crate) use words;

/// A text that is none of an enum's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{found}\" is none of {known}")]
pub struct UnknownWord {
    found: String,
    known: String,
}

impl UnknownWord {
    pub(crate) fn new(found: &str, known: &[&str]) -> Self {
        Self { found: found.chars().take(64).collect(), known: known.join(", ") }
    }
}
