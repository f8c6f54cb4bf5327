//! Strips and tiles that are JPEG streams of their own (TIFF technical note 2).
//!
//! The crate hands them to a decoder that believes whatever size it finds in them, so they are read
//! here first: what a stream takes must follow from the directory, which the limits have seen.

use ::tiff::tags::Tag;

use super::{Reader, refusal, value_bytes};
use crate::formats::Format;
use crate::formats::jpeg::header::{self, Header, Read};
use crate::{Deadline, Error};

/// The number of this compression in the directory.
const COMPRESSION: u16 = 7;

/// Bytes of the tables that all streams share; 8 KiB: every table there can be, at 16 bits, has 5 KiB.
const TABLES_BYTES_MAX: usize = 8_192;

/// A stream's last row and column of blocks may reach beyond the strip: at most 32 pixels.
const UNIT_PX_MAX: u32 = 32;

pub(super) fn is_in(decoder: &mut Reader<'_>) -> bool {
    matches!(decoder.find_tag_unsigned::<u16>(Tag::Compression), Ok(Some(COMPRESSION)))
}

/// Refuses streams of other sizes than the directory says, and those that would have to be kept as
/// coefficients; the memory that decoding takes beside the unpacked picture.
pub(super) fn checked(decoder: &mut Reader<'_>, bytes: &[u8], deadline: Deadline) -> Result<u64, Error> {
    let tables = value_bytes(decoder, Tag::JPEGTables)?.unwrap_or_default();
    if tables.len() > TABLES_BYTES_MAX {
        return Err(damaged("its JPEG tables are too large"));
    }
    let chunk = chunk(decoder)?;
    let (offsets, lengths) = places(decoder)?;
    // Streams that share their bytes would make a small file the work of a large one.
    if lengths.iter().try_fold(0, |sum: u64, &length| sum.checked_add(length)) > Some(bytes.len() as u64) {
        return Err(damaged("its strips overlap"));
    }
    for (&offset, &length) in offsets.iter().zip(&lengths) {
        deadline.check()?;
        let end = offset.checked_add(length).and_then(|end| usize::try_from(end).ok());
        let stream = usize::try_from(offset).ok().zip(end).and_then(|(start, end)| bytes.get(start..end));
        let stream = stream.ok_or_else(|| damaged("a strip lies beyond its end"))?;
        if tables.is_empty() {
            check(stream, &chunk)?;
        } else {
            check(&with_tables(&tables, stream)?, &chunk)?;
        }
    }
    // The streams as the decoder copies them, one of them unpacked, and its rows of coefficients.
    let samples = u64::from(chunk.samples);
    let unpacked = u64::from(chunk.width).saturating_mul(chunk.height.into()).saturating_mul(samples);
    let rows = u64::from(chunk.width).saturating_mul(samples * 128);
    Ok((bytes.len() as u64).saturating_add(unpacked).saturating_add(rows))
}

/// What the directory says about each stream.
struct Chunk {
    width: u32,
    height: u32,
    /// Components of a stream.
    samples: u16,
}

fn chunk(decoder: &mut Reader<'_>) -> Result<Chunk, Error> {
    let (width, height) = decoder.chunk_dimensions();
    let mut number = |tag| decoder.find_tag_unsigned::<u16>(tag).map_err(refusal);
    let (samples, planar) = (number(Tag::SamplesPerPixel)?.unwrap_or(1), number(Tag::PlanarConfiguration)?);
    let samples = if planar == Some(2) { 1 } else { samples };
    // Strips often claim more rows than there are.
    let strips = matches!(decoder.get_chunk_type(), ::tiff::decoder::ChunkType::Strip);
    let rows = decoder.dimensions().map_err(refusal)?.1;
    Ok(Chunk { width, height: if strips { height.min(rows) } else { height }, samples })
}

/// Where each stream begins and how long it is.
fn places(decoder: &mut Reader<'_>) -> Result<(Vec<u64>, Vec<u64>), Error> {
    let (offsets, lengths) = match decoder.get_chunk_type() {
        ::tiff::decoder::ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ::tiff::decoder::ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let mut numbers = |tag| decoder.get_tag_u64_vec(tag).map_err(refusal);
    Ok((numbers(offsets)?, numbers(lengths)?))
}

/// The tables without their end mark, then the stream without its start mark, as the crate does it.
fn with_tables(tables: &[u8], stream: &[u8]) -> Result<Vec<u8>, Error> {
    let tables = tables.split_last_chunk::<2>().map(|(tables, _)| tables);
    let (tables, stream) = tables.zip(stream.get(2..)).ok_or_else(|| damaged("its JPEG tables are cut"))?;
    Ok([tables, stream].concat())
}

fn check(stream: &[u8], chunk: &Chunk) -> Result<(), Error> {
    let header = match header::read(stream) {
        Read::Whole(header) if header::is_plain(stream) => header,
        Read::Damaged(reason) => return Err(damaged(reason)),
        _ => return Err(damaged("a JPEG stream in it is damaged")),
    };
    if !fits(&header, chunk) {
        return Err(damaged("a JPEG stream in it has another size than its strip"));
    }
    if header.progressive || header.waits {
        return Err(Error::unsupported("TIFF with JPEG in several scans"));
    }
    // The decoder fills with grey what is missing.
    header::scans(stream, header.scans_at).map(drop).ok_or_else(|| damaged("a JPEG stream in it is cut"))
}

fn fits(header: &Header<'_>, chunk: &Chunk) -> bool {
    header.sampling.len() == usize::from(chunk.samples)
        && header.width <= chunk.width
        && header.height <= chunk.height.next_multiple_of(UNIT_PX_MAX)
}

fn damaged(reason: &str) -> Error {
    Error::undecodable(Format::Tiff, reason)
}
