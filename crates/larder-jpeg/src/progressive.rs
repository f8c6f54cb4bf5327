//! Scans of the progressive process (T.81, annex G): bands of coefficients, bit by bit.

use crate::Damage;
use crate::bits::{Cursor, EntropyReader, Window};
use crate::header::Header;
use crate::lookup::{END_OF_BLOCK, Entry, ValueTable, extend};
use crate::quantisation::ZIGZAG;
use crate::scan::{McuBlock, McuDecoder, ScanHeader};
use crate::sequential::read_difference;

/// The coefficients of a component until all scans are read.
#[derive(Debug)]
pub(crate) struct Coefficients {
    /// Blocks of a row.
    across: usize,
    /// Coefficients of a block: 64, or only DC.
    kept: usize,
    values: Vec<i16>,
}

impl Coefficients {
    pub fn new(header: &Header<'_>, component: usize, kept: usize) -> Self {
        let (across, down) = header.frame.blocks(component);
        Self { across, kept, values: vec![0; across * down * kept] }
    }

    fn dc(&mut self, (x, y): (usize, usize)) -> &mut i16 {
        &mut self.values[(y * self.across + x) * self.kept]
    }

    /// `None` if only DC is kept.
    fn block(&mut self, (x, y): (usize, usize)) -> Option<&mut [i16; 64]> {
        self.values.as_chunks_mut::<64>().0.get_mut(y * self.across + x)
    }

    /// What is kept of the blocks of a row.
    pub fn row(&self, y: usize) -> &[i16] {
        &self.values[y * self.across * self.kept..][..self.across * self.kept]
    }
}

/// The bit that the scans so far went down to, for each coefficient of a component in zig-zag order; `None` for
/// those that were not sent yet.
#[derive(Debug, Clone)]
pub(crate) struct Progress([Option<u8>; 64]);

impl Progress {
    pub fn new() -> Self {
        Self([None; 64])
    }

    pub fn has_dc(&self) -> bool {
        self.0[0].is_some()
    }

    /// Whether all coefficients were sent down to their last bit.
    pub fn is_complete(&self) -> bool {
        self.0 == [Some(0); 64]
    }

    /// Notes a scan, if it follows from those before it.
    pub fn note(&mut self, scan: &ScanHeader) -> Result<(), Damage> {
        if scan.band.0 > 0 && !self.has_dc() {
            return Err(Damage("a component's AC coefficients come before its DC"));
        }
        let expected = (scan.high > 0).then_some(scan.high);
        let band = &mut self.0[scan.band.0..=scan.band.1];
        if band.iter().any(|&bit| bit != expected) {
            return Err(Damage("a scan does not refine what was sent before"));
        }
        band.fill(Some(scan.low));
        Ok(())
    }
}

/// The first scan of DC coefficients (section G.1.2.1).
pub(crate) struct DcFirst<'s> {
    pub blocks: &'s [McuBlock],
    /// For each of the scan's components.
    pub tables: Vec<ValueTable>,
    pub predictions: [i32; 4],
    pub low: u8,
    pub coefficients: &'s mut [Coefficients],
}

impl McuDecoder for DcFirst<'_> {
    fn restart(&mut self) {
        self.predictions = [0; 4];
    }

    #[inline]
    fn mcu(&mut self, reader: &mut EntropyReader<'_>, column: usize, row: usize) -> Result<(), Damage> {
        for block in self.blocks {
            reader.cursor.refill_to_32(&reader.window);
            let difference = read_difference(&mut reader.cursor, &self.tables[block.slot])?;
            let prediction = &mut self.predictions[block.slot];
            *prediction = prediction.wrapping_add(difference);
            if let Some(position) = block.position(column, row) {
                *self.coefficients[block.component].dc(position) = (*prediction << self.low) as i16;
            }
        }
        Ok(())
    }
}

/// A later scan of DC coefficients: a bit each.
pub(crate) struct DcRefine<'s> {
    pub blocks: &'s [McuBlock],
    pub low: u8,
    pub coefficients: &'s mut [Coefficients],
}

impl McuDecoder for DcRefine<'_> {
    fn restart(&mut self) {}

    #[inline]
    fn mcu(&mut self, reader: &mut EntropyReader<'_>, column: usize, row: usize) -> Result<(), Damage> {
        for block in self.blocks {
            reader.cursor.refill_to_32(&reader.window);
            let bit = reader.cursor.take(1) as i16;
            if let Some(position) = block.position(column, row) {
                *self.coefficients[block.component].dc(position) |= bit << self.low;
            }
        }
        Ok(())
    }
}

/// A scan of AC coefficients of one component (sections G.1.2.2 and G.1.2.3).
pub(crate) struct Ac<'s> {
    pub table: ValueTable,
    /// First and last place in zig-zag order.
    pub band: (usize, usize),
    pub low: u8,
    /// Whether coefficients of the band were sent before.
    pub refines: bool,
    pub block: McuBlock,
    /// Blocks still to come that have nothing (more) in the band.
    pub end_of_band_run: u32,
    pub coefficients: &'s mut Coefficients,
}

impl McuDecoder for Ac<'_> {
    fn restart(&mut self) {
        self.end_of_band_run = 0;
    }

    #[inline]
    fn mcu(&mut self, reader: &mut EntropyReader<'_>, column: usize, row: usize) -> Result<(), Damage> {
        if !self.refines && self.end_of_band_run > 0 {
            self.end_of_band_run -= 1;
            return Ok(());
        }
        let position = self.block.position(column, row);
        let Some(block) = position.and_then(|position| self.coefficients.block(position)) else {
            return Ok(());
        };
        let band = Band { table: &self.table, band: self.band, low: self.low };
        let mut cursor = reader.cursor;
        let run = if self.refines {
            band.refine(&mut cursor, &reader.window, self.end_of_band_run, block)
        } else {
            band.first(&mut cursor, &reader.window, block)
        };
        reader.cursor = cursor;
        self.end_of_band_run = run?;
        Ok(())
    }
}

/// What decodes a block of an AC scan.
struct Band<'s> {
    table: &'s ValueTable,
    band: (usize, usize),
    low: u8,
}

/// A symbol with what belongs to it.
enum Symbol {
    /// Zeros, and the value behind them (zero after 15 zeros: there are sixteen).
    Coefficient(usize, i16),
    /// The band ends here, in as many blocks.
    EndOfBand(u32),
}

impl Band<'_> {
    /// Decodes into zeros, and gives how many blocks after this one have none.
    #[inline(always)]
    fn first(&self, cursor: &mut Cursor, window: &Window, block: &mut [i16; 64]) -> Result<u32, Damage> {
        let mut place = self.band.0;
        while place <= self.band.1 {
            match self.symbol(cursor, window)? {
                Symbol::EndOfBand(blocks) => return Ok(blocks - 1),
                Symbol::Coefficient(run, value) => {
                    place += run;
                    if place > self.band.1 {
                        return Err(Damage::BEYOND_BAND);
                    }
                    block[usize::from(ZIGZAG[place & 63]) & 63] = value << self.low;
                    place += 1;
                }
            }
        }
        Ok(0)
    }

    #[inline(always)]
    fn symbol(&self, cursor: &mut Cursor, window: &Window) -> Result<Symbol, Damage> {
        cursor.refill_to_32(window);
        let entry = self.table.get(cursor.peek());
        if entry.length() == 0 {
            let (after, symbol) = self.long_symbol(*cursor, entry)?;
            *cursor = after;
            return Ok(symbol);
        }
        cursor.consume(entry.length());
        match entry.run() {
            END_OF_BLOCK => Ok(Symbol::EndOfBand(1)),
            run => Ok(Symbol::Coefficient(run as usize, entry.value())),
        }
    }

    /// A code that does not come with its magnitude in one look-up.
    ///
    /// The cursor comes and goes by value: a reference would keep it out of registers everywhere.
    #[inline(never)]
    fn long_symbol(&self, mut cursor: Cursor, entry: Entry) -> Result<(Cursor, Symbol), Damage> {
        let (length, symbol) = self.table.code(entry, cursor.peek()).ok_or(Damage::NO_CODE)?;
        cursor.consume(length);
        let (run, category) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let symbol = match (run, category) {
            (15, 0) => Symbol::Coefficient(15, 0),
            (0, 0) => Symbol::EndOfBand(1),
            (_, 0) => Symbol::EndOfBand((1 << run) + cursor.take(run)),
            _ if category > self.table.category_max => return Err(Damage::TOO_MANY_BITS),
            _ => Symbol::Coefficient(run as usize, extend(cursor.take(category), category) as i16),
        };
        Ok((cursor, symbol))
    }

    /// Adds a bit to the coefficients of a block, and gives for how many blocks after this one there are only
    /// corrections. `run` says so for this one if it is not zero.
    #[inline(always)]
    fn refine(
        &self,
        cursor: &mut Cursor,
        window: &Window,
        mut run: u32,
        block: &mut [i16; 64],
    ) -> Result<u32, Damage> {
        let mut place = self.band.0;
        while run == 0 && place <= self.band.1 {
            match self.symbol(cursor, window)? {
                Symbol::EndOfBand(blocks) => run = blocks,
                Symbol::Coefficient(_, value) if !(-1..=1).contains(&value) => return Err(Damage::NO_SYMBOL),
                Symbol::Coefficient(zeros, value) => {
                    place = self.correct(cursor, window, block, place, zeros);
                    if place > self.band.1 {
                        return Err(Damage::BEYOND_BAND);
                    }
                    block[usize::from(ZIGZAG[place & 63]) & 63] = value << self.low;
                    place += 1;
                }
            }
        }
        if run == 0 {
            return Ok(0);
        }
        self.correct(cursor, window, block, place, usize::MAX);
        Ok(run - 1)
    }

    /// Reads a correction bit for each coefficient that is not zero, up to the zero after `zeros` others, and
    /// gives the place of that, or the place behind the band.
    #[inline(always)]
    fn correct(
        &self,
        cursor: &mut Cursor,
        window: &Window,
        block: &mut [i16; 64],
        from: usize,
        mut zeros: usize,
    ) -> usize {
        let bit = 1_i16 << self.low;
        for place in from..=self.band.1 {
            let coefficient = &mut block[usize::from(ZIGZAG[place & 63]) & 63];
            if *coefficient == 0 {
                if zeros == 0 {
                    return place;
                }
                zeros -= 1;
                continue;
            }
            cursor.refill_to_32(window);
            if cursor.take(1) == 1 && *coefficient & bit == 0 {
                *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
            }
        }
        self.band.1 + 1
    }
}
