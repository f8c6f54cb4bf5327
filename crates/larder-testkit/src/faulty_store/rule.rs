//! Which operations go wrong, and how.

use std::time::Duration;

use larder_store::{BoxError, Error};

/// An operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the trait's methods")]
pub enum Operation {
    Put,
    Open,
    Stat,
    Settle,
    List,
    Remove,
    Copy,
    Rename,
    RemoveUnfinished,
}

/// As what an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The store does not answer.
    Unavailable,
    /// The store asks to come again after this time: 429 or 503 with `Retry-After`.
    Busy(Duration),
    /// There is no room.
    Full,
    /// There is no permission.
    Denied,
    /// Something that should not happen.
    Defect,
}

impl Failure {
    pub(super) fn error(self, place: &str) -> Error {
        let (place, source) = (place.to_owned(), BoxError::from("a fault made by the test"));
        match self {
            Self::Unavailable => Error::unavailable(place, source),
            Self::Busy(wait) => Error::unavailable(place, source).retry_after(wait),
            Self::Full => Error::Full { place, source },
            Self::Denied => Error::Denied { place, path: None, source },
            Self::Defect => Error::Internal { place, source },
        }
    }
}

/// When in its course an operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Before,
    AfterBytes(u64),
    AfterEffect,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Works,
    Fails(When, Failure),
    Hangs(When),
    Truncates(u64),
    WrongFingerprint,
}

/// Which operations fail, and how.
///
/// ```
/// use larder_testkit::faulty_store::{Failure, Operation, Rule};
/// let second_put_fills_the_disk = Rule::on(Operation::Put).skip(1).times(1).fails(Failure::Full);
/// ```
#[derive(Debug, Clone)]
pub struct Rule {
    operation: Option<Operation>,
    place_part: String,
    skip: u64,
    times: u64,
    pub(super) delay: Duration,
    pub(super) effect: Effect,
}

impl Rule {
    /// Every operation.
    pub fn on_all() -> Self {
        Self {
            operation: None,
            place_part: String::new(),
            skip: 0,
            times: u64::MAX,
            delay: Duration::ZERO,
            effect: Effect::Works,
        }
    }

    /// One kind of operation.
    pub fn on(operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::on_all() }
    }

    /// Only where the place (of a rename or copy the target, of a list the prefix) contains this.
    #[must_use]
    pub fn at(mut self, place_part: impl Into<String>) -> Self {
        self.place_part = place_part.into();
        self
    }

    /// Not the first `count` that match.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Only `count` of them.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// They wait before they begin.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// They fail and have changed nothing.
    #[must_use]
    pub fn fails(mut self, failure: Failure) -> Self {
        self.effect = Effect::Fails(When::Before, failure);
        self
    }

    /// They fail, but what they were to change is changed: the answer got lost.
    #[must_use]
    pub fn fails_after_effect(mut self, failure: Failure) -> Self {
        self.effect = Effect::Fails(When::AfterEffect, failure);
        self
    }

    /// A put fails when so many bytes came in; an opened body breaks off when so many went out.
    /// Other operations fail before they begin.
    #[must_use]
    pub fn fails_after_bytes(mut self, bytes: u64, failure: Failure) -> Self {
        self.effect = Effect::Fails(When::AfterBytes(bytes), failure);
        self
    }

    /// They never answer, and change nothing.
    #[must_use]
    pub fn hangs(mut self) -> Self {
        self.effect = Effect::Hangs(When::Before);
        self
    }

    /// They change what they were to change, and never answer.
    #[must_use]
    pub fn hangs_after_effect(mut self) -> Self {
        self.effect = Effect::Hangs(When::AfterEffect);
        self
    }

    /// A put takes no more when so many bytes came in, an opened body gives no more when so many went
    /// out; neither ends. Other operations hang before they begin.
    #[must_use]
    pub fn hangs_after_bytes(mut self, bytes: u64) -> Self {
        self.effect = Effect::Hangs(When::AfterBytes(bytes));
        self
    }

    /// A put keeps only so many bytes and says that all is well; an opened body ends after so many as if
    /// there were no more. Other operations work.
    #[must_use]
    pub fn truncates_after_bytes(mut self, bytes: u64) -> Self {
        self.effect = Effect::Truncates(bytes);
        self
    }

    /// They work, and what they answer of the bytes names others. What answers no
    /// [`Stat`](larder_store::Stat) just works.
    #[must_use]
    pub fn answers_a_wrong_fingerprint(mut self) -> Self {
        self.effect = Effect::WrongFingerprint;
        self
    }

    pub(super) fn applies(&mut self, operation: Operation, place: &str) -> bool {
        let matches = self.operation.is_none_or(|own| own == operation) && place.contains(&self.place_part);
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}
