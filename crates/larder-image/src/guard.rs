//! A panic inside a codec is the refusal of one file, never the end of the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Error, Format};

/// Runs codec code and turns its panic into [`Error::Panicked`].
///
/// The closure may borrow mutable state that is looked at again after a panic: the cascade of resized
/// pictures, which only ever gets whole ones, and the resizer's buffers, which are filled anew.
pub(crate) fn guarded<T>(format: Format, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".into());
        Err(Error::Panicked { format, message })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_refusal_with_its_message() {
        let caught = guarded::<()>(Format::Tiff, || panic!("index {} out of bounds", 7));
        assert_eq!(
            caught,
            Err(Error::Panicked { format: Format::Tiff, message: "index 7 out of bounds".into() })
        );
    }
}
