//! Quantisation tables (T.81, section B.2.4.1) and the zig-zag order (section A.3.6).

use crate::Error;
use crate::marker::Segment;

/// For each place in zig-zag order, the place in a block written row by row.
pub(crate) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Step sizes, row by row. Those above 32,767 wrap: the transform counts in 16 bits, and only damaged files
/// have them.
pub(crate) type QuantisationTable = [i16; 64];

/// The four places for tables.
pub(crate) type QuantisationTables = [Option<QuantisationTable>; 4];

/// The largest DC coefficient times its step that is taken. From samples of 8 bits come at most 1,024, of which
/// rounding to a multiple of the step makes at most 2,048. Less than twice that is left to encoders that round
/// otherwise, and is also where the transforms of all sizes still agree on what lies far beyond white: from 4,092
/// on, libjpeg's at 1/8 turns it into black.
pub(crate) const DC_MAX: i16 = 4_091;

/// The largest magnitude of a DC coefficient with this table.
pub(crate) fn dc_limit(table: &QuantisationTable) -> u32 {
    u32::from(DC_MAX.unsigned_abs()) / u32::from(table[0] as u16)
}

/// Puts the tables of a DQT segment into their places.
pub(crate) fn read_tables(segment: &Segment<'_>, tables: &mut QuantisationTables) -> Result<(), Error> {
    let corrupt = |what| Error::corrupt(what, segment.offset);
    let mut rest = segment.content;
    while let Some((&head, values)) = rest.split_first() {
        let (wide, place) = (head >> 4, usize::from(head & 15));
        if wide > 1 || place > 3 {
            return Err(corrupt("a quantisation table's precision or place is impossible"));
        }
        let length = 64 << wide;
        let (values, after) =
            values.split_at_checked(length).ok_or_else(|| corrupt("a quantisation table is cut"))?;
        let mut table = [0; 64];
        for (index, &natural) in ZIGZAG.iter().enumerate() {
            let step = match wide {
                0 => u16::from(values[index]),
                _ => u16::from_be_bytes([values[2 * index], values[2 * index + 1]]),
            };
            if step == 0 {
                return Err(corrupt("a quantisation step is zero"));
            }
            table[usize::from(natural)] = step as i16;
        }
        tables[place] = Some(table);
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::DQT;

    fn read(content: &[u8]) -> Result<QuantisationTables, Error> {
        let mut tables = [None; 4];
        read_tables(&Segment { marker: DQT, offset: 0, content }, &mut tables).map(|()| tables)
    }

    #[test]
    fn a_segment_may_hold_several_tables_of_both_precisions() {
        let narrow: Vec<u8> = std::iter::once(0x01).chain(1..=64).collect();
        let wide: Vec<u8> =
            std::iter::once(0x12).chain((1..=64_u16).flat_map(|step| (step * 256).to_be_bytes())).collect();
        let tables = read(&[narrow, wide].concat()).unwrap();
        assert_eq!(tables[1].unwrap()[8], 3);
        assert_eq!(tables[2].unwrap()[8], 3 * 256);
        assert!(tables[0].is_none());
    }

    #[test]
    fn impossible_tables_are_damage() {
        for content in [&[0x20][..], &[0x04], &[0, 1, 2], &[0; 65]] {
            assert!(read(content).is_err(), "{content:?}");
        }
    }
}
