//! Values as they come in, before they have a type: text from the environment and flags, scalars and
//! lists from the file.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use larder_core::text::{ByteSize, Span, parse_bytes, parse_duration};
use url::Url;

/// A value that has no type yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// One value.
    Text(String),
    /// Several values: a TOML array, or text of an environment variable split at commas.
    List(Vec<String>),
}

impl Raw {
    /// One value from text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn one(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::List(_) => Err("a list stands where one value belongs".to_owned()),
        }
    }

    /// Reads the value into `target`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn read_into<T: FromRaw>(&self, target: &mut T) -> Result<(), String> {
        *target = T::from_raw(self)?;
        Ok(())
    }
}

/// A type that a setting can have.
pub trait FromRaw: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    fn from_raw(raw: &Raw) -> Result<Self, String>;
}

impl FromRaw for String {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        Ok(raw.one()?.to_owned())
    }
}

impl FromRaw for PathBuf {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        match raw.one()? {
            "" => Err("the path is empty".to_owned()),
            path => Ok(Self::from(path)),
        }
    }
}

impl FromRaw for SocketAddr {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let text = raw.one()?;
        let named = text.replacen("localhost", "127.0.0.1", 1);
        let whole = if named.starts_with(':') { format!("0.0.0.0{named}") } else { named };
        whole.parse().map_err(|_| {
            format!("\"{text}\" is no address with a port; write it as 127.0.0.1:8000 or [::1]:8000")
        })
    }
}

impl FromRaw for Url {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let text = raw.one()?;
        let url = Self::parse(text).map_err(|error| format!("\"{text}\" is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(url),
            scheme => Err(format!("the URL begins with {scheme}: and not with http: or https:")),
        }
    }
}

impl FromRaw for ByteSize {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        parse_bytes(raw.one()?).map(Self)
    }
}

impl FromRaw for Span {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        parse_duration(raw.one()?).map(Self)
    }
}

impl FromRaw for bool {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let text = raw.one()?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!("\"{text}\" is neither true nor false")),
        }
    }
}

impl FromRaw for Vec<String> {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        Ok(match raw {
            Raw::List(items) => items.clone(),
            Raw::Text(text) => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            }
        })
    }
}

/// Whole numbers, with `_` between digits allowed as in TOML.
macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl FromRaw for $number {
            fn from_raw(raw: &Raw) -> Result<Self, String> {
                let text = raw.one()?;
                <$number>::from_str(&text.replace('_', ""))
                    .map_err(|_| format!("\"{text}\" is no whole number from 0 to {}", <$number>::MAX))
            }
        }
    )*};
}

whole_numbers!(u8, u16, u32, u64, usize);

impl FromRaw for f64 {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let text = raw.one()?;
        let number = Self::from_str(text).ok().filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| format!("\"{text}\" is no number that is 0 or more"))
    }
}

/// An empty text unsets an optional setting, so that an environment can undo what a file says.
impl<T: FromRaw> FromRaw for Option<T> {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            _ => T::from_raw(raw).map(Some),
        }
    }
}

/// Text that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself. Hand it to the one place that needs it, never to a formatter.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromRaw for Secret {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        Ok(Self(raw.one()?.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromRaw>(text: &str) -> Result<T, String> {
        T::from_raw(&Raw::text(text))
    }

    #[test]
    fn addresses_may_be_named_or_numbered_but_need_a_port() {
        assert_eq!(read::<SocketAddr>("localhost:80").unwrap().to_string(), "127.0.0.1:80");
        assert_eq!(read::<SocketAddr>(":80").unwrap().to_string(), "0.0.0.0:80");
        assert_eq!(read::<SocketAddr>("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert!(read::<SocketAddr>("127.0.0.1").unwrap_err().contains("127.0.0.1:8000"));
    }

    #[test]
    fn an_empty_text_unsets_an_optional_setting() {
        assert_eq!(read::<Option<Url>>("").unwrap(), None);
        assert!(read::<Option<Url>>("ftp://x").unwrap_err().contains("ftp"));
    }

    #[test]
    fn lists_come_as_arrays_or_with_commas() {
        assert_eq!(read::<Vec<String>>("a, b,").unwrap(), ["a", "b"]);
        assert_eq!(Vec::<String>::from_raw(&Raw::List(vec!["a".into()])).unwrap(), ["a"]);
        assert!(String::from_raw(&Raw::List(Vec::new())).is_err());
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = read::<Secret>("hunter2").unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }
}
