//! Identifiers: UUIDv7 in its usual text form, so that they sort by the time they were made.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::ambient::Ambient;

/// The text was not a UUID in its 36-character form.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not an id: ids are UUIDs of 36 characters")]
pub struct IdError(String);

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id that carries the present millisecond.
            pub fn new(ambient: &Ambient) -> Self {
                Self(fresh(ambient))
            }

            /// The 16 bytes of the UUID.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

identifiers! {
    /// An asset; it stays when the bytes under its key are replaced.
    AssetId;
    /// A variant of an asset.
    VariantId;
    /// One coming-in of a file.
    UploadId;
    /// A unit of slow work.
    JobId;
    /// An API credential; public, unlike the secret that belongs to it.
    KeyId;
}

fn fresh(ambient: &Ambient) -> Uuid {
    let millis = ambient.now().as_millis().max(0).unsigned_abs();
    uuid::Builder::from_unix_timestamp_millis(millis, &ambient.random_bytes()).into_uuid()
}

fn parse(text: &str) -> Result<Uuid, IdError> {
    let shortened = || IdError(text.chars().take(64).collect());
    // `Uuid` also reads braces, URNs and unhyphenated text; one id has one spelling here.
    if text.len() != 36 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(shortened());
    }
    Uuid::try_parse(text).map_err(|_| shortened())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ambient::ManualClock, time::Timestamp};

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let clock = ManualClock::at(Timestamp::from_millis(1_772_366_400_000));
        let ambient = Ambient::repeatable(clock.clone(), 1);
        let first = AssetId::new(&ambient);
        clock.advance(Duration::from_millis(1));
        let second = AssetId::new(&ambient);
        assert!(first.to_string() < second.to_string());
        assert_eq!(first.to_string().parse::<AssetId>(), Ok(first));
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        for text in [
            "",
            "x",
            "0195 ",
            "{0195f1e0-0000-7000-8000-000000000000}",
            "0195F1E0-0000-7000-8000-000000000000",
        ] {
            assert!(text.parse::<UploadId>().is_err(), "{text}");
        }
    }
}
