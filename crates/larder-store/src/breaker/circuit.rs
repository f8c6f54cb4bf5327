//! The state of a circuit: when operations go through, and what their outcomes change.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use larder_core::{Ambient, Timestamp};
use tokio::time::Instant;

use super::limits::BreakerLimits;
use crate::error::{Error, Result};

/// Longest text of an error that is remembered, in bytes.
const ERROR_BYTES_MAX: usize = 500;

/// Whether operations go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// All of them.
    Closed,
    /// One, as a probe.
    HalfOpen,
    /// None.
    Open,
}

/// A time in which a store does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// When its circuit opened.
    pub since: Timestamp,
    /// Why it did, or why the last probe failed; for operators.
    pub last_error: String,
}

/// What a circuit says of its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether operations go through.
    pub state: CircuitState,
    /// The outage, until a probe succeeds.
    pub outage: Option<Outage>,
}

/// Why an operation was not tried: the source of its [`Error::Unavailable`]. The log had it when the
/// circuit opened, so that it need not be told again for each operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store has not answered since {}: {}", .0.since, .0.last_error)]
pub struct CircuitOpen(pub Outage);

impl CircuitOpen {
    /// Whether this is among the causes of an error.
    pub fn is_cause_of(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Self>())
    }
}

/// The circuit of one store, as seen by whoever holds it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Circuit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<str>,
    limits: BreakerLimits,
    ambient: Ambient,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Rises with each change, so that operations that began before it change nothing any more.
    generation: u64,
    pause: Duration,
    outage: Option<Outage>,
}

#[derive(Debug)]
enum Phase {
    Closed(Recent),
    Open { until: Instant },
    HalfOpen { since: Instant },
}

/// Outcomes of the last operations.
#[derive(Debug, Default)]
struct Recent {
    failures_in_a_row: u32,
    /// One bit each, the newest lowest; set for a failure.
    failed: u64,
    count: u32,
}

impl Recent {
    fn note(&mut self, failed: bool, of: u32) {
        self.failures_in_a_row = if failed { self.failures_in_a_row + 1 } else { 0 };
        self.count = (self.count + 1).min(of.min(u64::BITS));
        let kept = 1_u64.checked_shl(of).map_or(u64::MAX, |bit| bit - 1);
        self.failed = ((self.failed << 1) | u64::from(failed)) & kept;
    }

    fn is_too_bad(&self, limits: &BreakerLimits) -> bool {
        let rate_is_known = self.count == limits.rate_of.min(u64::BITS);
        self.failures_in_a_row >= limits.failures_in_a_row
            || (rate_is_known && self.failed.count_ones() * 2 >= self.count)
    }
}

impl Circuit {
    pub(super) fn new(store: Arc<str>, limits: BreakerLimits, ambient: Ambient) -> Self {
        let state = State {
            phase: Phase::Closed(Recent::default()),
            generation: 0,
            pause: limits.pause_min,
            outage: None,
        };
        Self(Arc::new(Inner { store, limits, ambient, state: Mutex::new(state) }))
    }

    /// What it says of its store.
    pub fn health(&self) -> Health {
        let state = self.lock();
        let phase = match state.phase {
            Phase::Closed(_) => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        };
        Health { state: phase, outage: state.outage.clone() }
    }

    /// The error with which an operation would be answered now, if it would not go through: for whoever
    /// wants to know before it prepares one.
    pub fn refusal(&self) -> Option<Error> {
        let state = self.lock();
        self.wait(&state).map(|wait| refusal("the store", wait, &state))
    }

    pub(super) fn limits(&self) -> &BreakerLimits {
        &self.0.limits
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long nothing goes through; `None` if something does.
    fn wait(&self, state: &State) -> Option<Duration> {
        let until = match state.phase {
            Phase::Closed(_) => return None,
            Phase::Open { until } => until,
            Phase::HalfOpen { since } => since + self.0.limits.probe_within,
        };
        Some(until.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }

    /// Lets an operation through, or answers it.
    pub(super) fn enter(&self, place: &str) -> Result<Ticket> {
        let mut state = self.lock();
        if let Some(wait) = self.wait(&state) {
            metrics::counter!("larder_store_refused_total", "store" => self.0.store.clone()).increment(1);
            return Err(refusal(place, wait, &state));
        }
        let is_probe = !matches!(state.phase, Phase::Closed(_));
        if is_probe {
            state.phase = Phase::HalfOpen { since: Instant::now() };
            state.generation += 1;
            self.tell(&state);
        }
        Ok(Ticket {
            circuit: self.clone(),
            generation: state.generation,
            is_probe,
            timed_out: false,
            end: End::Unknown,
        })
    }

    fn note(&self, generation: u64, outcome: std::result::Result<(), Failure>) {
        let mut state = self.lock();
        if generation != state.generation {
            return;
        }
        match (&mut state.phase, outcome) {
            (Phase::Closed(recent), outcome) => {
                recent.note(outcome.is_err(), self.0.limits.rate_of);
                let recent_is_too_bad = recent.is_too_bad(&self.0.limits);
                match outcome {
                    Err(failure) if recent_is_too_bad => {
                        state.pause = self.0.limits.pause_min;
                        self.open(&mut state, failure);
                    }
                    // Whoever reads the figures may have come after the last change.
                    _ => self.tell(&state),
                }
            }
            (Phase::HalfOpen { .. }, Ok(())) => {
                let was = state.outage.take();
                state.phase = Phase::Closed(Recent::default());
                state.generation += 1;
                self.tell(&state);
                if let Some(Outage { since, .. }) = was {
                    tracing::info!(store = %self.0.store, %since, "the store answers again");
                }
            }
            (Phase::HalfOpen { .. }, Err(failure)) => {
                state.pause = (state.pause * 2).min(self.0.limits.pause_max);
                self.open(&mut state, failure);
            }
            (Phase::Open { .. }, _) => {}
        }
    }

    fn open(&self, state: &mut State, failure: Failure) {
        let spread = 1.0 - self.0.ambient.random_unit() / 4.0;
        let asked_for = failure.retry_after.unwrap_or_default().min(self.0.limits.retry_after_max);
        let pause = state.pause.mul_f64(spread).max(asked_for);
        let since = state.outage.as_ref().map_or_else(|| self.0.ambient.now(), |outage| outage.since);
        state.phase = Phase::Open { until: Instant::now() + pause };
        state.generation += 1;
        let again_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(store = %self.0.store, %since, again_in_ms, error = failure.text, "the store does not answer; it is left alone for a while");
        state.outage = Some(Outage { since, last_error: failure.text });
        self.tell(state);
    }

    /// A probe that ended without telling anything of the store.
    fn give_probe_back(&self, generation: u64) {
        let mut state = self.lock();
        if generation == state.generation && matches!(state.phase, Phase::HalfOpen { .. }) {
            state.phase = Phase::Open { until: Instant::now() };
            state.generation += 1;
            self.tell(&state);
        }
    }

    fn tell(&self, state: &State) {
        let value = match state.phase {
            Phase::Closed(_) => 0.0,
            Phase::HalfOpen { .. } => 1.0,
            Phase::Open { .. } => 2.0,
        };
        metrics::gauge!("larder_store_circuit", "store" => self.0.store.clone()).set(value);
    }

    fn count_failure(&self, cause: &'static str) {
        metrics::counter!("larder_store_failures_total", "store" => self.0.store.clone(), "cause" => cause)
            .increment(1);
    }
}

fn refusal(place: &str, wait: Duration, state: &State) -> Error {
    let outage = state
        .outage
        .clone()
        .unwrap_or_else(|| Outage { since: Timestamp::from_millis(0), last_error: "unknown".to_owned() });
    Error::unavailable(place, CircuitOpen(outage)).retry_after(wait)
}

/// What a failed operation tells.
#[derive(Debug)]
struct Failure {
    text: String,
    retry_after: Option<Duration>,
}

impl Failure {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let retry_after = match error.downcast_ref::<Error>() {
            Some(Error::Unavailable { retry_after, .. }) => *retry_after,
            _ => None,
        };
        // The outermost error names the place, which tells nothing of the store.
        let first = error.source().unwrap_or(error);
        let mut text = String::new();
        for cause in std::iter::successors(Some(first), |error| error.source()) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause.to_string());
        }
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        Self { text, retry_after }
    }
}

/// An operation that went through. Dropped without an outcome, as when its caller goes away, it changes
/// nothing but that the next one may be the probe.
#[derive(Debug)]
pub(super) struct Ticket {
    circuit: Circuit,
    generation: u64,
    is_probe: bool,
    timed_out: bool,
    end: End,
}

/// What the end of a ticket says of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Unknown,
    /// It answered so far.
    Good,
    Told,
}

impl Ticket {
    /// Notes the outcome of an operation.
    pub(super) fn settle<T>(mut self, result: &Result<T>) {
        match result {
            Err(error @ Error::Unavailable { .. }) => {
                self.fail(if self.timed_out { "timeout" } else { "error" }, error);
            }
            // The client's failure, or something unknown: the store may be well or not.
            Err(Error::Body(_) | Error::Internal { .. }) => {}
            _ => self.end = End::Good,
        }
    }

    /// The store answered.
    pub(super) fn succeed(mut self) {
        self.end = End::Good;
    }

    /// The store answered, and its bytes follow: the ticket for these. A probe has succeeded already.
    pub(super) fn answered(self) -> Self {
        if !self.is_probe {
            return self;
        }
        let circuit = self.circuit.clone();
        self.succeed();
        let generation = circuit.lock().generation;
        Self { circuit, generation, is_probe: false, timed_out: false, end: End::Unknown }
    }

    /// Some bytes came.
    pub(super) fn got_on(&mut self) {
        self.end = End::Good;
    }

    /// The bytes broke off.
    pub(super) fn break_off(mut self, error: &(dyn std::error::Error + 'static)) {
        self.fail("body", error);
    }

    /// The error that follows was made here, when the time was over.
    pub(super) fn note_timeout(&mut self) {
        self.timed_out = true;
    }

    fn fail(&mut self, cause: &'static str, error: &(dyn std::error::Error + 'static)) {
        self.end = End::Told;
        self.circuit.count_failure(cause);
        self.circuit.note(self.generation, Err(Failure::of(error)));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.end {
            End::Told => {}
            End::Good => self.circuit.note(self.generation, Ok(())),
            End::Unknown if self.is_probe => self.circuit.give_probe_back(self.generation),
            End::Unknown => {}
        }
    }
}
