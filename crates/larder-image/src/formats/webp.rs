//! Webp

use super::{Format, FormatKind};
use crate::Error;

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Webp,
    name: "webp",
    content_type: "image/webp",
    extension: "webp",
    doc: "",
    size: |_| Ok(None),
    inspect: |_| Err(Error::internal("not there yet")),
    decode: |_, _, _| Err(Error::internal("not there yet")),
    animate: None,
    encode: None,
};
