//! Png

use super::{Format, FormatKind};
use crate::Error;

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Png,
    name: "png",
    content_type: "image/png",
    extension: "png",
    doc: "",
    size: |_| Ok(None),
    inspect: |_| Err(Error::internal("not there yet")),
    decode: |_, _, _| Err(Error::internal("not there yet")),
    animate: None,
    encode: None,
};
