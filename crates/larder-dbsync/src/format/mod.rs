//! What lies in the store, byte for byte; described for others in `docs/database-format.md`.
//!
//! Everything here is pure: bytes in, values out. Whatever a value says about sizes is checked against the bytes
//! that are there before memory is taken for it.

mod entry;
mod frame;
mod map;
mod notes;
mod wire;

pub use self::{
    entry::{Change, Entry, EntryHead, Kind, Lease, PREFIX_BYTES},
    frame::{FRAME_BYTES, Frame, FramePages, FrameWriter, pages_per_frame},
    map::{PageMap, SinceMap, Source},
    notes::{Head, Keep},
    wire::Malformed,
};

/// The version of entries, maps and frames.
pub const VERSION: u16 = 1;

/// The identity of a database, drawn when it is first pushed; the same in all its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DatabaseId(pub [u8; 16]);

impl DatabaseId {
    /// The identity that is printed so.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(Self(id))
    }
}

impl std::fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Whether SQLite has pages of this size (file format, section 1.3.2).
pub fn is_page_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (512..=65_536).contains(&bytes)
}
