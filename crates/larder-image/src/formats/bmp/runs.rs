//! Run length coding of BMP ("Bitmap Compression" in the Windows documentation).

use super::damaged;
use super::header::{Header, Packing};
use crate::{Deadline, Error};

/// The indices, in the order of the file's rows.
///
/// Gaps are allowed by the format, but not what shows in them; programs disagree, so a picture with
/// gaps is refused.
pub(super) fn unpack(data: &[u8], header: &Header, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let (width, height) = (header.width as usize, header.height as usize);
    let nibbles = header.packing == Packing::Rle4;
    let mut indices = Vec::with_capacity(width * height);
    let mut rest = data;
    let cut = || damaged("its runs end without an end mark");
    // The end of the row that is being filled; a row's own end mark may follow it or not.
    let mut row_end = width;
    loop {
        let Some((&[count, value], after)) = rest.split_first_chunk() else { return Err(cut()) };
        rest = after;
        let run = match (count, value) {
            (0, 0) => {
                deadline.check()?;
                if indices.len() != row_end {
                    return Err(damaged("a row ends early"));
                }
                row_end += width;
                continue;
            }
            (0, 1) if indices.len() == width * height => return Ok(indices),
            (0, 1) => return Err(damaged("its runs end early")),
            (0, 2) => return Err(damaged("it has gaps")),
            (0, literal) => {
                let count = usize::from(literal);
                let bytes = if nibbles { count.div_ceil(2) } else { count };
                let values = rest.get(..bytes).ok_or_else(cut)?;
                // Literal runs are filled up to two bytes.
                rest = rest.get(bytes.next_multiple_of(2)..).unwrap_or_default();
                Run { count, values, repeats: false }
            }
            (count, _) => Run { count: count.into(), values: &[value], repeats: true },
        };
        if indices.len() + run.count > row_end.min(width * height) {
            return Err(damaged("a run reaches beyond its row"));
        }
        indices.extend((0..run.count).map(|n| run.at(n, nibbles)));
    }
}

struct Run<'a> {
    count: usize,
    values: &'a [u8],
    repeats: bool,
}

impl Run<'_> {
    fn at(&self, n: usize, nibbles: bool) -> u8 {
        let byte = match (self.repeats, nibbles) {
            (true, _) => self.values[0],
            (false, true) => self.values[n / 2],
            (false, false) => self.values[n],
        };
        match (nibbles, n % 2) {
            (false, _) => byte,
            (true, 0) => byte >> 4,
            (true, _) => byte & 15,
        }
    }
}
