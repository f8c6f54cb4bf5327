//! Avif

use super::{Format, FormatKind};
use crate::Error;

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Avif,
    name: "avif",
    content_type: "image/avif",
    extension: "avif",
    doc: "",
    size: |_| Ok(None),
    inspect: |_| Err(Error::internal("not there yet")),
    decode: |_, _, _| Err(Error::internal("not there yet")),
    animate: None,
    encode: None,
};
