//! Run length coding of BMP ("Bitmap Compression" in the Windows documentation).

use super::damaged;
use super::header::{Header, Packing};
use crate::{Deadline, Error};

/// The indices, in the order of the file's rows; pixels that no run reaches have index 0.
pub(super) fn unpack(data: &[u8], header: &Header, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let (width, height) = (header.width as usize, header.height as usize);
    let nibbles = header.packing == Packing::Rle4;
    let mut indices = vec![0; width * height];
    let (mut x, mut y) = (0, 0);
    let mut rest = data;
    let cut = || damaged("its runs end without an end mark");
    loop {
        let Some((&[count, value], after)) = rest.split_first_chunk() else { return Err(cut()) };
        rest = after;
        let run = match (count, value) {
            (0, 0) => {
                deadline.check()?;
                (x, y) = (0, y + 1);
                continue;
            }
            (0, 1) => return Ok(indices),
            (0, 2) => {
                let (&[right, up], after) = rest.split_first_chunk().ok_or_else(cut)?;
                rest = after;
                (x, y) = (x + usize::from(right), y + usize::from(up));
                if x > width || y >= height {
                    return Err(damaged("a gap leads out of the picture"));
                }
                continue;
            }
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
        if y >= height || x + run.count > width {
            return Err(damaged("a run reaches beyond its row"));
        }
        for (n, index) in indices[y * width + x..][..run.count].iter_mut().enumerate() {
            *index = run.at(n, nibbles);
        }
        x += run.count;
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
