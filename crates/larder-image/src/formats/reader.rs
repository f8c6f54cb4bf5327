//! Reading numbers out of a header without a step beyond its end.

/// The 16-bit number at `offset`, most significant byte first.
pub(crate) fn u16_be(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The 16-bit number at `offset`, least significant byte first.
pub(crate) fn u16_le(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The 32-bit number at `offset`, most significant byte first.
pub(crate) fn u32_be(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The 32-bit number at `offset`, least significant byte first.
pub(crate) fn u32_le(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The 24-bit number at `offset`, least significant byte first.
pub(crate) fn u24_le(bytes: &[u8], offset: usize) -> Option<u32> {
    let &[a, b, c] = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}
