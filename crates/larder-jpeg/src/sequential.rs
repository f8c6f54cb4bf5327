//! Scans of the sequential processes (T.81, annex F): each block is coded whole.

use crate::Damage;
use crate::bits::{Cursor, EntropyReader, Window};
use crate::lookup::{END_OF_BLOCK, Entry, ValueTable, extend};
use crate::planes::Plane;
use crate::quantisation::ZIGZAG;
use crate::reconstruct::Reconstructor;
use crate::scan::{McuBlock, McuDecoder};

/// The tables that decode a component.
#[derive(Debug)]
pub(crate) struct BlockTables {
    pub dc: ValueTable,
    pub ac: ValueTable,
}

/// Decodes a scan straight into planes.
pub(crate) struct Sequential<'s> {
    pub blocks: &'s [McuBlock],
    pub tables: Vec<BlockTables>,
    /// For each of the scan's components, which of the tables.
    pub uses: [usize; 4],
    pub predictions: [i32; 4],
    /// For each of the scan's components, the largest magnitude of a DC coefficient.
    pub dc_limits: [u32; 4],
    pub reconstructor: &'s mut Reconstructor,
    pub planes: &'s mut [Plane],
}

impl McuDecoder for Sequential<'_> {
    fn restart(&mut self) {
        self.predictions = [0; 4];
    }

    #[inline]
    fn mcu(&mut self, reader: &mut EntropyReader<'_>, column: usize, row: usize) -> Result<(), Damage> {
        for block in self.blocks {
            let coefficients = self.reconstructor.next_block(self.planes);
            let tables = &self.tables[self.uses[block.slot]];
            let prediction = &mut self.predictions[block.slot];
            let mut cursor = reader.cursor;
            let last = read_block(&mut cursor, &reader.window, tables, prediction, coefficients);
            reader.cursor = cursor;
            if prediction.unsigned_abs() > self.dc_limits[block.slot] {
                return Err(Damage::DC_TOO_LARGE);
            }
            self.reconstructor.push(block.component, block.position(column, row), last?);
        }
        Ok(())
    }
}

/// Look-ups of a whole coefficient after each refill: 56 bits are enough for five.
const LOOKUPS: usize = 4;

/// Decodes a block into zeros, and gives the place in zig-zag order of its last coefficient.
#[inline(always)]
fn read_block(
    cursor: &mut Cursor,
    window: &Window,
    tables: &BlockTables,
    prediction: &mut i32,
    coefficients: &mut [i16; 64],
) -> Result<usize, Damage> {
    cursor.refill(window);
    *prediction = prediction.wrapping_add(read_difference(cursor, &tables.dc)?);
    coefficients[0] = *prediction as i16;
    let mut place = 1;
    let mut last = 0;
    loop {
        cursor.refill(window);
        for _ in 0..LOOKUPS {
            let entry = tables.ac.get(cursor.peek());
            if entry.length() == 0 {
                cursor.refill(window);
                let (run, value) = read_long_coefficient(cursor, &tables.ac, entry)?;
                place += run;
                if place > 63 {
                    return ended(run, last);
                }
                coefficients[usize::from(ZIGZAG[place])] = value;
                (last, place) = (place, place + 1);
                if place > 63 {
                    return Ok(last);
                }
                break;
            }
            cursor.consume(entry.length());
            place += entry.run() as usize;
            if place > 63 {
                return ended(entry.run() as usize, last);
            }
            coefficients[usize::from(ZIGZAG[place]) & 63] = entry.value();
            (last, place) = (place, place + 1);
            if place > 63 {
                return Ok(last);
            }
        }
    }
}

/// What a run beyond the block means.
#[inline(always)]
fn ended(run: usize, last: usize) -> Result<usize, Damage> {
    if run == END_OF_BLOCK as usize { Ok(last) } else { Err(Damage::BEYOND_BAND) }
}

/// A DC difference; 31 bits are ready.
#[inline(always)]
pub(crate) fn read_difference(cursor: &mut Cursor, table: &ValueTable) -> Result<i32, Damage> {
    let entry = table.get(cursor.peek());
    if entry.length() != 0 {
        cursor.consume(entry.length());
        return Ok(i32::from(entry.value()));
    }
    let (length, category) = table.code(entry, cursor.peek()).ok_or(Damage::NO_CODE)?;
    cursor.consume(length);
    match u32::from(category) {
        0 => Ok(0),
        category if category > table.category_max => Err(Damage::TOO_MANY_BITS),
        category => Ok(extend(cursor.take(category), category)),
    }
}

/// Run and value of a coefficient of which `entry` does not hold the whole; 31 bits are ready.
#[inline(always)]
pub(crate) fn read_long_coefficient(
    cursor: &mut Cursor,
    table: &ValueTable,
    entry: Entry,
) -> Result<(usize, i16), Damage> {
    let (length, symbol) = table.code(entry, cursor.peek()).ok_or(Damage::NO_CODE)?;
    cursor.consume(length);
    match (usize::from(symbol >> 4), u32::from(symbol & 15)) {
        (0, 0) => Ok((END_OF_BLOCK as usize, 0)),
        (15, 0) => Ok((15, 0)),
        (_, 0) => Err(Damage::NO_SYMBOL),
        (_, category) if category > table.category_max => Err(Damage::TOO_MANY_BITS),
        (run, category) => Ok((run, extend(cursor.take(category), category) as i16)),
    }
}
