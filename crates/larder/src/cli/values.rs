//! Arguments that have a form of their own.

use std::str::FromStr;

use larder_assets::{Action, Scope};
use larder_core::text::{ByteSize, Span, parse_bytes, parse_duration};

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Before the first equals sign.
    pub name: String,
    /// After it.
    pub value: String,
}

impl FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("write it as NAME=VALUE".to_owned()),
        }
    }
}

/// `BUCKETS[:PREFIXES[:ACTIONS]]`, or `admin`; each a list with commas.
///
/// # Errors
/// A sentence that says what was expected.
pub fn scope(text: &str) -> Result<Scope, String> {
    if text == "admin" {
        return Ok(Scope::admin());
    }
    let (buckets, rest) = text.split_once(':').unwrap_or((text, ""));
    // The actions come after the last colon: a prefix may hold colons itself.
    let (prefixes, actions) = rest.rsplit_once(':').unwrap_or((rest, ""));
    let list =
        |text: &str| text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let buckets = list(buckets);
    if buckets.is_empty() {
        return Err("write it as BUCKETS[:PREFIXES[:ACTIONS]], or admin".to_owned());
    }
    let actions = match actions {
        "" | "*" => USUAL_ACTIONS.to_vec(),
        named => list(named).iter().map(|name| action(name)).collect::<Result<_, _>>()?,
    };
    Ok(Scope { buckets, prefixes: list(prefixes), actions })
}

/// What a scope allows that names no actions: everything but administration.
const USUAL_ACTIONS: [Action; 5] = [Action::Read, Action::List, Action::Write, Action::Delete, Action::Sign];

fn action(name: &str) -> Result<Action, String> {
    Action::ALL.iter().copied().find(|action| action.as_str() == name).ok_or_else(|| {
        let known: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        format!("\"{name}\" is no action; use some of {}", known.join(", "))
    })
}

/// Reads a size such as `20MB`.
pub fn bytes(text: &str) -> Result<ByteSize, String> {
    parse_bytes(text).map(ByteSize)
}

/// Reads a duration such as `24h`.
pub fn span(text: &str) -> Result<Span, String> {
    parse_duration(text).map(Span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_names_buckets_prefixes_and_actions() {
        let one = scope("media,keeps:users/7/:read,write").unwrap();
        assert_eq!((one.buckets.len(), one.prefixes.as_slice()), (2, &["users/7/".to_owned()][..]));
        assert_eq!(one.actions, [Action::Read, Action::Write]);
        assert_eq!(scope("media").unwrap().actions, USUAL_ACTIONS);
        assert_eq!(scope("*::read").unwrap().prefixes, [""; 0]);
        assert_eq!(scope("admin").unwrap(), Scope::admin());
        assert!(scope("media::fly").unwrap_err().contains("fly"));
        assert!(scope(":a").is_err());
    }

    #[test]
    fn a_value_may_hold_equals_signs() {
        let pair: KeyValue = "a=b=c".parse().unwrap();
        assert_eq!(pair, KeyValue { name: "a".to_owned(), value: "b=c".to_owned() });
        assert!("=b".parse::<KeyValue>().is_err());
    }
}
