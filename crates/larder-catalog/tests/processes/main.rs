//! What holds over several processes, and over the death of one.
//!
//! A child is this very test binary: it runs the ignored test `child`, which does what its
//! environment says.

mod child;
mod death;
mod start;
