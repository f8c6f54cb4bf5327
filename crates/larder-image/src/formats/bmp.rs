//! Bmp

use super::{Format, FormatKind};
use crate::Error;

pub(super) const KIND: FormatKind = FormatKind {
    format: Format::Bmp,
    name: "bmp",
    content_type: "image/bmp",
    extension: "bmp",
    doc: "",
    size: |_| Ok(None),
    inspect: |_| Err(Error::internal("not there yet")),
    decode: |_, _, _| Err(Error::internal("not there yet")),
    animate: None,
    encode: None,
};
