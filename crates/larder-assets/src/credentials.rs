//! API keys, and what their holders may do.

use std::time::Duration;

use larder_catalog::{Class, KeyRecord};
use larder_core::{BucketName, Code, Fault, KeyId, text::Span};
use serde::{Deserialize, Serialize};

use crate::{
    larder::Larder,
    remembered::Remembered,
    secrets::{digest_of_bearer, equal_in_constant_time},
    view::{KeyView, key_view},
};

/// Keys that are remembered at a time. One that was revoked by another process works until it is
/// forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Beginning of every bearer secret, so that scanners of leaked secrets can know it.
const PREFIX: &str = "lk_";

/// What a credential may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Read assets and variants, and see their records.
    Read,
    /// List a bucket.
    List,
    /// Upload, replace, change records, restore.
    Write,
    /// Delete and purge.
    Delete,
    /// Make signed URLs.
    Sign,
    /// Everything: buckets, presets, jobs, keys, statistics, sweeps.
    Admin,
}

impl Action {
    /// Every action, in the order in which they are shown.
    pub const ALL: &[Self] = &[Self::Read, Self::List, Self::Write, Self::Delete, Self::Sign, Self::Admin];

    /// Its name in scopes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Sign => "sign",
            Self::Admin => "admin",
        }
    }
}

/// What a key may do: these actions, in these buckets, on keys with these prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Bucket names, or `*` for all.
    #[serde(default = "everything")]
    pub buckets: Vec<String>,
    /// Prefixes of object keys; empty for all keys.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Actions; `admin` includes the others and every bucket.
    pub actions: Vec<Action>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Scope {
    /// Everything everywhere.
    pub fn admin() -> Self {
        Self { buckets: everything(), prefixes: Vec::new(), actions: vec![Action::Admin] }
    }

    /// Whether this allows `action` in a bucket (any, if none is named) on a key.
    pub fn allows(&self, action: Action, bucket: Option<&BucketName>, key: Option<&str>) -> bool {
        if self.actions.contains(&Action::Admin) {
            return true;
        }
        let everywhere = self.buckets.iter().any(|name| name == "*");
        let bucket_fits = bucket.map_or(everywhere, |bucket| {
            everywhere || self.buckets.iter().any(|name| name == bucket.as_str())
        });
        // Without a key, the whole bucket is meant: a key for some prefixes does not cover it.
        let key_fits = self.prefixes.is_empty()
            || key.is_some_and(|key| self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())));
        self.actions.contains(&action) && bucket_fits && key_fits
    }

    /// Whether this allows `action` on any key of a bucket (of any bucket, if none is named).
    fn allows_somewhere(&self, action: Action, bucket: Option<&BucketName>) -> bool {
        let bucket_fits = bucket
            .is_none_or(|bucket| self.buckets.iter().any(|name| name == "*" || name == bucket.as_str()));
        self.actions.contains(&Action::Admin) || self.actions.contains(&action) && bucket_fits
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The API key, if it is one.
    pub key: Option<KeyId>,
    /// A name for logs, and the scope of idempotency keys.
    pub name: String,
    scope: Option<Scope>,
}

impl Principal {
    /// The person at this machine, while no key is configured.
    pub fn local_admin() -> Self {
        Self { key: None, name: "local".to_owned(), scope: Some(Scope::admin()) }
    }

    /// Anyone.
    pub fn anonymous() -> Self {
        Self { key: None, name: "anonymous".to_owned(), scope: None }
    }

    /// Whether no credential came.
    pub fn is_anonymous(&self) -> bool {
        self.scope.is_none()
    }

    /// Allows or refuses an action.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] without a credential, [`Code::Forbidden`] with one that does not
    /// cover the action.
    pub fn may(&self, action: Action, bucket: Option<&BucketName>, key: Option<&str>) -> Result<(), Fault> {
        let Some(scope) = &self.scope else {
            return Err(Fault::new(Code::Unauthenticated, "this needs an API key")
                .remedy("send the header Authorization: Bearer <key>; `larder key create` makes one"));
        };
        if scope.allows(action, bucket, key) {
            return Ok(());
        }
        Err(self.refusal(action, bucket))
    }

    /// Allows an action that is going to be somewhere in a bucket (in any, if none is named), or
    /// refuses it for being possible nowhere. Where it is must still be judged with
    /// [`may`](Self::may).
    ///
    /// # Errors
    /// As [`may`](Self::may).
    pub fn may_somewhere(&self, action: Action, bucket: Option<&BucketName>) -> Result<(), Fault> {
        match &self.scope {
            Some(scope) if scope.allows_somewhere(action, bucket) => Ok(()),
            Some(_) => Err(self.refusal(action, bucket)),
            None => self.may(action, bucket, None),
        }
    }

    fn refusal(&self, action: Action, bucket: Option<&BucketName>) -> Fault {
        let place = bucket.map_or(String::new(), |bucket| format!(" in the bucket {bucket}"));
        Fault::new(Code::Forbidden, format!("the key \"{}\" may not {}{place}", self.name, action.as_str()))
            .remedy("use a key whose scope has this action, bucket and prefix")
    }
}

/// A key to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// How long it works; for ever unless set.
    #[serde(default)]
    pub expires_in: Option<Span>,
}

/// A key that was just made; its secrets are shown this once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssuedKey {
    /// The key.
    pub key: KeyView,
    /// The bearer secret.
    pub secret: String,
    /// With this the holder can sign URLs without asking Larder, if the scope has `sign`.
    pub signing_secret: String,
}

/// Keys that were authenticated lately.
#[derive(Debug)]
pub(crate) struct KeyCache {
    /// By the digest of their bearer secrets.
    known: Remembered<String, Principal>,
    /// By id: for URLs that a key signed.
    signers: Remembered<KeyId, Principal>,
    any_configured: Remembered<(), bool>,
}

impl Larder {
    /// Who holds this bearer secret.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for an unknown, expired or revoked key.
    pub async fn authenticate(&self, bearer: &str) -> Result<Principal, Fault> {
        let settings = self.settings();
        for (name, key) in [("admin-key", &settings.admin_key), ("owner", &settings.owner_key)] {
            if let Some(key) = key
                && equal_in_constant_time(key.as_bytes(), bearer.as_bytes())
            {
                return Ok(Principal { key: None, name: name.to_owned(), scope: Some(Scope::admin()) });
            }
        }
        let digest = digest_of_bearer(bearer);
        let known = &self.key_cache().known;
        if let Some(principal) = known.get(&digest) {
            return Ok(principal);
        }
        let lookup = known.look_up();
        // The lookup goes by the digest: what a stranger sends is never compared with a secret.
        let record = match bearer.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) {
            Some((id, _)) => match id.parse::<KeyId>() {
                Ok(id) => self.catalog().key(id).await?,
                Err(_) => None,
            },
            None => None,
        };
        let record = record
            .filter(|record| equal_in_constant_time(record.secret_sha256.as_bytes(), digest.as_bytes()))
            .filter(|record| self.is_active(record))
            .ok_or_else(unknown_key)?;
        let principal = principal_of(record)?;
        known.remember(lookup, digest, principal.clone());
        Ok(principal)
    }

    /// The holder of a key by its id: for URLs that a key signed.
    ///
    /// # Errors
    /// [`Code::SignatureInvalid`] if the key does not exist or no longer works.
    pub async fn signer(&self, id: KeyId) -> Result<Principal, Fault> {
        let signers = &self.key_cache().signers;
        if let Some(principal) = signers.get(&id) {
            return Ok(principal);
        }
        let lookup = signers.look_up();
        let record = self.catalog().key(id).await?.filter(|record| self.is_active(record));
        let record = record.ok_or_else(|| {
            Fault::new(Code::SignatureInvalid, "the key that signed this URL does not work any more")
                .remedy("ask for a new URL where you got it")
        })?;
        let principal = principal_of(record)?;
        signers.remember(lookup, id, principal.clone());
        Ok(principal)
    }

    /// Whether any credential was ever configured; without one, the person at this machine is the
    /// administrator. At most a second old.
    ///
    /// Keys that expired or were revoked count: that the last one ends must not open what it closed.
    /// `larder key create` on the data directory makes a new one.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn any_key_configured(&self) -> Result<bool, Fault> {
        if self.settings().admin_key.is_some() {
            return Ok(true);
        }
        let known = &self.key_cache().any_configured;
        if let Some(any) = known.get(&()) {
            return Ok(any);
        }
        let lookup = known.look_up();
        let any = self.catalog().keys_ever().await? > 0;
        known.remember(lookup, (), any);
        Ok(any)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for a scope without actions or a name without letters.
    pub async fn create_key(&self, new: NewKey) -> Result<IssuedKey, Fault> {
        check_new(&new)?;
        let (record, issued) = self.new_key(new)?;
        self.catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.insert_key(&record).await }))
            .await?;
        self.key_cache().clear();
        Ok(issued)
    }

    /// A key that is not stored yet.
    fn new_key(&self, new: NewKey) -> Result<(KeyRecord, IssuedKey), Fault> {
        let id = KeyId::new(self.ambient());
        let now = self.ambient().now();
        let secret = format!("{PREFIX}{id}_{}", hex::encode(self.ambient().random_bytes::<24>()));
        let scope = serde_json::to_value(&new.scope)
            .map_err(|error| Fault::internal("a scope does not print").caused_by(error))?;
        let record = KeyRecord {
            id,
            name: new.name,
            secret_sha256: digest_of_bearer(&secret),
            scope,
            created_at: now,
            expires_at: new.expires_in.map(|span| now.plus(span.0)),
            revoked_at: None,
            rotated_to: None,
        };
        let issued = IssuedKey {
            key: key_view(record.clone())?,
            secret,
            signing_secret: self.settings().secrets.signing_key(&id.to_string()),
        };
        Ok((record, issued))
    }

    /// All keys, revoked ones included, the newest first.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn keys(&self) -> Result<Vec<KeyView>, Fault> {
        self.catalog().keys().await?.into_iter().map(key_view).collect()
    }

    /// Ends a key at once (within a second in other processes).
    ///
    /// # Errors
    /// [`Code::KeyNotFound`].
    pub async fn revoke_key(&self, id: KeyId) -> Result<KeyView, Fault> {
        self.catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.revoke_key(id).await }))
            .await?;
        self.key_cache().clear();
        let record = self.catalog().key(id).await?.ok_or_else(|| no_key(id))?;
        key_view(record)
    }

    /// Makes a key with the same name and scope, and lets the old one work for `overlap` more, or
    /// until its own end if that comes first. Both happen or neither.
    ///
    /// # Errors
    /// [`Code::KeyNotFound`]; [`Code::Conflict`] if the key was rotated already.
    pub async fn rotate_key(&self, id: KeyId, overlap: Duration) -> Result<IssuedKey, Fault> {
        let old = self
            .catalog()
            .key(id)
            .await?
            .filter(|record| self.is_active(record))
            .ok_or_else(|| no_key(id))?;
        let old = key_view(old)?;
        if let Some(successor) = old.rotated_to {
            return Err(Fault::new(Code::Conflict, format!("the key {id} was rotated already"))
                .remedy(format!("rotate its successor {successor}")));
        }
        // The successor lives as long as the old key was meant to.
        let expires_in = old.expires_at.map(|at| Span(at.since(old.created_at)));
        let (record, issued) = self.new_key(NewKey { name: old.name, scope: old.scope, expires_in })?;
        let overlap_ends = self.ambient().now().plus(overlap);
        let ends_at = old.expires_at.map_or(overlap_ends, |own_end| own_end.min(overlap_ends));
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.insert_key(&record).await?;
                    tx.rotate_key(id, record.id, ends_at).await
                })
            })
            .await?;
        self.key_cache().clear();
        Ok(issued)
    }

    fn is_active(&self, record: &KeyRecord) -> bool {
        let now = self.ambient().now();
        record.revoked_at.is_none_or(|at| at > now) && record.expires_at.is_none_or(|at| at > now)
    }
}

impl Default for KeyCache {
    fn default() -> Self {
        Self {
            known: Remembered::new(REMEMBERED_MAX),
            signers: Remembered::new(REMEMBERED_MAX),
            any_configured: Remembered::new(1),
        }
    }
}

impl KeyCache {
    fn clear(&self) {
        self.known.clear();
        self.signers.clear();
        self.any_configured.clear();
    }
}

fn principal_of(record: KeyRecord) -> Result<Principal, Fault> {
    let view = key_view(record)?;
    Ok(Principal { key: Some(view.id), name: view.name, scope: Some(view.scope) })
}

fn check_new(new: &NewKey) -> Result<(), Fault> {
    let problem =
        if new.name.trim().is_empty() || new.name.len() > 100 || new.name.chars().any(char::is_control) {
            "a key needs a name of 1 to 100 characters"
        } else if new.scope.actions.is_empty() {
            "a key without actions could do nothing"
        } else if new.scope.buckets.is_empty() {
            "a key without buckets could do nothing; use \"*\" for all"
        } else {
            return Ok(());
        };
    Err(Fault::new(Code::InvalidRequest, problem)
        .remedy("actions are read, list, write, delete, sign, admin"))
}

fn unknown_key() -> Fault {
    Fault::new(Code::Unauthenticated, "the API key is unknown, expired or revoked")
        .remedy("check the key, or make a new one with `larder key create`")
}

fn no_key(id: KeyId) -> Fault {
    Fault::new(Code::KeyNotFound, format!("there is no working key {id}")).remedy("list the keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(buckets: &[&str], prefixes: &[&str], actions: &[Action]) -> Scope {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Scope { buckets: owned(buckets), prefixes: owned(prefixes), actions: actions.to_vec() }
    }

    #[test]
    fn a_scope_allows_its_actions_in_its_buckets_on_its_prefixes() {
        let media: BucketName = "media".parse().unwrap();
        let other: BucketName = "other".parse().unwrap();
        let narrow = scope(&["media"], &["keep/42/"], &[Action::Read]);
        assert!(narrow.allows(Action::Read, Some(&media), Some("keep/42/a.jpg")));
        assert!(!narrow.allows(Action::Read, Some(&media), Some("keep/420/a.jpg")));
        assert!(!narrow.allows(Action::Write, Some(&media), Some("keep/42/a.jpg")));
        assert!(!narrow.allows(Action::Read, Some(&other), Some("keep/42/a.jpg")));
        assert!(!narrow.allows(Action::Read, Some(&media), None), "the whole bucket is more than a prefix");
        assert!(!narrow.allows(Action::Read, None, Some("keep/42/")));
        assert!(narrow.allows_somewhere(Action::Read, Some(&media)));
        assert!(narrow.allows_somewhere(Action::Read, None));
        assert!(!narrow.allows_somewhere(Action::Read, Some(&other)));
        assert!(!narrow.allows_somewhere(Action::Write, None));
    }

    #[test]
    fn admin_includes_everything_and_anonymous_nothing() {
        let media: BucketName = "media".parse().unwrap();
        assert!(Scope::admin().allows(Action::Delete, Some(&media), None));
        let code = Principal::anonymous().may(Action::Read, Some(&media), None).unwrap_err().code;
        assert_eq!(code, Code::Unauthenticated);
    }
}
