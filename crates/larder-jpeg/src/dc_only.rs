//! Sequential scans at 1/8: each block becomes one sample, for which its DC coefficient is enough.
//!
//! The AC coefficients are decoded as far as it takes to find where they end.

use crate::Damage;
use crate::bits::{Cursor, EntropyReader, Window};
use crate::lookup::{END_OF_BLOCK, SkipTable, ValueTable};
use crate::planes::Plane;
use crate::reconstruct::dc_sample;
use crate::scan::{McuBlock, McuDecoder};
use crate::sequential::{read_difference, read_long_coefficient};

/// The tables that decode a component.
#[derive(Debug)]
pub(crate) struct DcOnlyTables {
    pub dc: ValueTable,
    pub ac: SkipTable,
}

/// Decodes a scan straight into planes of a sample for each block.
pub(crate) struct DcOnly<'s> {
    pub blocks: &'s [McuBlock],
    pub tables: Vec<DcOnlyTables>,
    /// For each of the scan's components, which of the tables.
    pub uses: [usize; 4],
    /// For each of the scan's components, the quantisation step of its DC coefficients.
    pub steps: [i16; 4],
    /// For each of the scan's components, the largest magnitude of a DC coefficient.
    pub dc_limits: [u32; 4],
    pub predictions: [i32; 4],
    pub planes: &'s mut [Plane],
}

impl McuDecoder for DcOnly<'_> {
    fn restart(&mut self) {
        self.predictions = [0; 4];
    }

    #[inline]
    fn mcu(&mut self, reader: &mut EntropyReader<'_>, column: usize, row: usize) -> Result<(), Damage> {
        for block in self.blocks {
            let tables = &self.tables[self.uses[block.slot]];
            let mut cursor = reader.cursor;
            let difference = skip_block(&mut cursor, &reader.window, tables);
            reader.cursor = cursor;
            let prediction = &mut self.predictions[block.slot];
            *prediction = prediction.wrapping_add(difference?);
            if prediction.unsigned_abs() > self.dc_limits[block.slot] {
                return Err(Damage::DC_TOO_LARGE);
            }
            let sample = dc_sample(*prediction as i16, self.steps[block.slot]);
            if let Some((x, y)) = block.position(column, row) {
                self.planes[block.component].set(x, y, sample);
            }
        }
        Ok(())
    }
}

/// Look-ups after each refill: 56 bits are enough for three.
const LOOKUPS: usize = 3;

/// Reads the DC difference of a block and passes over the rest.
#[inline(always)]
fn skip_block(cursor: &mut Cursor, window: &Window, tables: &DcOnlyTables) -> Result<i32, Damage> {
    cursor.refill(window);
    let difference = read_difference(cursor, &tables.dc)?;
    skip_ac(cursor, window, &tables.ac)?;
    Ok(difference)
}

/// Passes over the AC coefficients of a block.
#[inline(always)]
fn skip_ac(cursor: &mut Cursor, window: &Window, table: &SkipTable) -> Result<(), Damage> {
    let mut place = 1;
    loop {
        cursor.refill(window);
        for _ in 0..LOOKUPS {
            let skip = table.get(cursor.peek());
            let next = place + skip.places() as usize;
            // Near its end the block may be full in the middle of what the look-up found.
            if skip.length() == 0 || next > 63 {
                cursor.refill(window);
                let run = skip_one(cursor, table.singles())?;
                place += run;
                if place > 63 {
                    return if run == END_OF_BLOCK as usize { Ok(()) } else { Err(Damage::BEYOND_BAND) };
                }
                place += 1;
                if place > 63 {
                    return Ok(());
                }
                break;
            }
            cursor.consume(skip.length());
            if skip.ends_block() {
                return Ok(());
            }
            place = next;
        }
    }
}

/// Passes over one coefficient, and gives its run; 31 bits are ready.
#[inline(always)]
fn skip_one(cursor: &mut Cursor, table: &ValueTable) -> Result<usize, Damage> {
    let entry = table.get(cursor.peek());
    if entry.length() == 0 {
        return read_long_coefficient(cursor, table, entry).map(|(run, _)| run);
    }
    cursor.consume(entry.length());
    Ok(entry.run() as usize)
}
