//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is enough for all connections and the files behind their answers, twice.
const ENOUGH: u64 = 16_384;

/// Raises the soft limit of open files as far as the hard limit lets it, up to [`ENOUGH`]: many
/// systems begin at 1,024, a quarter of the connections that are taken.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(ENOUGH, |hard| hard.min(ENOUGH));
    if current.is_none_or(|soft| soft >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        tracing::warn!(%error, ?current, "the limit of open files could not be raised");
    }
}
