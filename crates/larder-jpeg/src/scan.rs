//! A scan: its header, and the walk over its MCUs (T.81, sections A.2, B.2.3 and E.2.4).

use crate::bits::EntropyReader;
use crate::frame::Frame;
use crate::marker::Segment;
use crate::{Damage, Error, Location};

/// Blocks of an MCU (B.2.3).
const MCU_BLOCKS_MAX: usize = 10;

/// A component of a scan, and which tables decode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanComponent {
    /// Its place in the frame.
    pub component: usize,
    pub dc_table: usize,
    pub ac_table: usize,
}

/// What a scan's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanHeader {
    pub components: Vec<ScanComponent>,
    /// First and last coefficient in zig-zag order (spectral selection).
    pub band: (usize, usize),
    /// The bit that the scan before this one went down to; 0 in a first scan (successive approximation).
    pub high: u8,
    /// The bit that this scan goes down to.
    pub low: u8,
}

impl ScanHeader {
    pub fn parse(segment: &Segment<'_>, frame: &Frame) -> Result<Self, Error> {
        let corrupt = |what| Error::corrupt(what, segment.offset);
        let (&count, rest) =
            segment.content.split_first().ok_or_else(|| corrupt("the scan header is empty"))?;
        let count = usize::from(count);
        if !(1..=frame.components.len()).contains(&count) || rest.len() != 2 * count + 3 {
            return Err(corrupt("the scan header's length does not fit its components"));
        }
        let (selectors, parameters) = rest.split_at(2 * count);
        let mut components: Vec<ScanComponent> = Vec::with_capacity(count);
        for &[id, tables] in selectors.as_chunks::<2>().0 {
            let component = frame.components.iter().position(|component| component.id == id);
            let component = component.ok_or_else(|| corrupt("the frame has no such component"))?;
            let (dc_table, ac_table) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc_table > 3 || ac_table > 3 {
                return Err(corrupt("a scan names an impossible Huffman table"));
            }
            // The order of the frame is the order of every scan (B.2.3).
            if components.last().is_some_and(|last| last.component >= component) {
                return Err(corrupt("a scan's components are out of order"));
            }
            components.push(ScanComponent { component, dc_table, ac_table });
        }
        let band = (usize::from(parameters[0]), usize::from(parameters[1]));
        let header = Self { components, band, high: parameters[2] >> 4, low: parameters[2] & 15 };
        if frame.progressive && !header.is_possible() {
            return Err(corrupt("a scan's band or bits are impossible"));
        }
        Ok(header)
    }

    /// The pairs of DC and AC tables that the components use, each once, and which one each component uses:
    /// chroma components share theirs, and making a table takes time.
    pub fn table_pairs(&self) -> (Vec<(usize, usize)>, [usize; 4]) {
        let (mut pairs, mut uses) = (Vec::new(), [0; 4]);
        for (component, place) in self.components.iter().zip(&mut uses) {
            let pair = (component.dc_table, component.ac_table);
            *place = pairs.iter().position(|&other| other == pair).unwrap_or(pairs.len());
            if *place == pairs.len() {
                pairs.push(pair);
            }
        }
        (pairs, uses)
    }

    /// Section G.1.1.1.
    fn is_possible(&self) -> bool {
        let (first, last) = self.band;
        let band =
            if first == 0 { last == 0 } else { first <= last && last <= 63 && self.components.len() == 1 };
        band && self.low <= 13 && (self.high == 0 || self.high == self.low + 1)
    }
}

/// One of the blocks of an MCU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct McuBlock {
    /// Which of the scan's components it belongs to.
    pub slot: usize,
    /// The place of that component in the frame.
    pub component: usize,
    /// Blocks of that component across and down an MCU.
    step: (usize, usize),
    /// Its place within the MCU.
    place: (usize, usize),
    /// Blocks that the component has, without those that only fill MCUs.
    size: (usize, usize),
}

impl McuBlock {
    /// Column and row among the component's blocks; `None` if the block only fills its MCU.
    #[inline(always)]
    pub fn position(&self, column: usize, row: usize) -> Option<(usize, usize)> {
        let (x, y) = (column * self.step.0 + self.place.0, row * self.step.1 + self.place.1);
        (x < self.size.0 && y < self.size.1).then_some((x, y))
    }
}

/// How the MCUs of a scan lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub across: usize,
    pub down: usize,
    pub blocks: Vec<McuBlock>,
}

impl Layout {
    /// A scan of one component has MCUs of one block, and none that only fill (A.2.2).
    pub fn new(header: &ScanHeader, frame: &Frame) -> Result<Self, Damage> {
        if let [only] = header.components[..] {
            let size = frame.blocks(only.component);
            let block = McuBlock { slot: 0, component: only.component, step: (1, 1), place: (0, 0), size };
            return Ok(Self { across: size.0, down: size.1, blocks: vec![block] });
        }
        let mut blocks = Vec::new();
        for (slot, &ScanComponent { component, .. }) in header.components.iter().enumerate() {
            let sampling = &frame.components[component];
            let step = (usize::from(sampling.horizontal), usize::from(sampling.vertical));
            for place in (0..step.1).flat_map(|y| (0..step.0).map(move |x| (x, y))) {
                blocks.push(McuBlock { slot, component, step, place, size: frame.blocks(component) });
            }
        }
        if blocks.len() > MCU_BLOCKS_MAX {
            return Err(Damage("an MCU has more than 10 blocks"));
        }
        let (across, down) = frame.mcus();
        Ok(Self { across, down, blocks })
    }

    /// Blocks of all MCUs.
    pub fn visits(&self) -> u64 {
        (self.across * self.down * self.blocks.len()) as u64
    }
}

/// What decodes one MCU after the other.
pub(crate) trait McuDecoder {
    /// Forgets what was carried from MCU to MCU.
    fn restart(&mut self);
    /// Decodes the MCU at this column and row. The reader is prepared for one.
    fn mcu(&mut self, reader: &mut EntropyReader<'_>, column: usize, row: usize) -> Result<(), Damage>;
}

/// What the walk needs to know.
pub(crate) struct Walk<'w> {
    pub bytes: &'w [u8],
    /// Of the first byte behind the scan's header.
    pub position: usize,
    pub layout: &'w Layout,
    /// MCUs between restart markers; 0 if there are none.
    pub restart_interval: usize,
    /// The number of the scan, for errors.
    pub scan: usize,
    pub interrupt: Option<&'w dyn Fn() -> bool>,
}

impl Walk<'_> {
    /// Decodes the scan, and says where the marker behind it is.
    pub fn run(&self, decoder: &mut impl McuDecoder) -> Result<usize, Error> {
        let mut reader = EntropyReader::new(self.bytes, self.position);
        let mut until_restart = self.restart_interval;
        let mut restarts = 0;
        for row in 0..self.layout.down {
            if self.interrupt.is_some_and(|interrupt| interrupt()) {
                return Err(Error::Interrupted(self.location(&reader, row)));
            }
            for column in 0..self.layout.across {
                if self.restart_interval > 0 {
                    if until_restart == 0 {
                        reader.restart(restarts).map_err(|damage| self.refusal(&reader, row, damage))?;
                        decoder.restart();
                        (until_restart, restarts) = (self.restart_interval, restarts + 1);
                    }
                    until_restart -= 1;
                }
                reader.prepare_mcu();
                let decoded = decoder.mcu(&mut reader, column, row);
                if reader.is_overrun() {
                    let damage = Damage("the data of the scan ends before its last MCU");
                    return Err(self.refusal(&reader, row, damage));
                }
                decoded.map_err(|damage| self.refusal(&reader, row, damage))?;
            }
        }
        reader.finish().map_err(|damage| self.refusal(&reader, self.layout.down - 1, damage))
    }

    /// What is wrong before the first MCU.
    pub fn corrupt(&self, damage: Damage) -> Error {
        let at = Location { offset: self.position, scan: Some(self.scan), mcu_row: None };
        Error::Corrupt { what: damage.0, at }
    }

    #[cold]
    fn refusal(&self, reader: &EntropyReader<'_>, row: usize, damage: Damage) -> Error {
        let at = self.location(reader, row);
        if reader.is_cut() { Error::Truncated(at) } else { Error::Corrupt { what: damage.0, at } }
    }

    fn location(&self, reader: &EntropyReader<'_>, row: usize) -> Location {
        Location { offset: reader.offset(), scan: Some(self.scan), mcu_row: Some(row) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker;

    fn frame(marker: u8, sampling: &[u8]) -> Frame {
        let mut content = vec![8, 0, 35, 0, 33, sampling.len() as u8];
        for (id, &factors) in sampling.iter().enumerate() {
            content.extend([id as u8, factors, 0]);
        }
        Frame::parse(&Segment { marker, offset: 0, content: &content }).unwrap()
    }

    fn header(frame: &Frame, content: &[u8]) -> Result<ScanHeader, Error> {
        ScanHeader::parse(&Segment { marker: marker::SOS, offset: 0, content }, frame)
    }

    #[test]
    fn blocks_that_only_fill_an_mcu_have_no_position() {
        let frame = frame(marker::SOF0, &[0x22, 0x11, 0x11]);
        let scan = header(&frame, &[3, 0, 0, 1, 0, 2, 0, 0, 63, 0]).unwrap();
        let layout = Layout::new(&scan, &frame).unwrap();
        assert_eq!((layout.across, layout.down, layout.blocks.len()), (3, 3, 6));
        assert_eq!(layout.blocks[2].position(2, 1), Some((4, 3)));
        assert_eq!(layout.blocks[3].position(2, 1), None);
    }

    #[test]
    fn a_scan_of_one_component_has_mcus_of_one_block() {
        let frame = frame(marker::SOF0, &[0x22, 0x11, 0x11]);
        let layout = Layout::new(&header(&frame, &[1, 0, 0, 0, 63, 0]).unwrap(), &frame).unwrap();
        assert_eq!((layout.across, layout.down, layout.visits()), (5, 5, 25));
    }

    #[test]
    fn tables_that_components_share_are_there_once() {
        let frame = frame(marker::SOF0, &[0x11, 0x11, 0x11]);
        let scan = header(&frame, &[3, 0, 0x00, 1, 0x11, 2, 0x11, 0, 63, 0]).unwrap();
        assert_eq!(scan.table_pairs(), (vec![(0, 0), (1, 1)], [0, 1, 1, 0]));
    }

    #[test]
    fn an_mcu_has_at_most_ten_blocks() {
        let frame = frame(marker::SOF0, &[0x42, 0x21, 0x11]);
        let scan = header(&frame, &[3, 0, 0, 1, 0, 2, 0, 0, 63, 0]).unwrap();
        assert!(Layout::new(&scan, &frame).is_err());
    }

    #[test]
    fn impossible_scan_headers_are_damage() {
        let frame = frame(marker::SOF2, &[0x11, 0x11]);
        let contents: [&[u8]; 9] = [
            &[],
            &[0, 0, 0, 0],
            &[3, 0, 0, 1, 0, 2, 0, 0, 0, 0],
            &[1, 7, 0, 0, 0, 0],
            &[1, 0, 0x40, 0, 0, 0],
            &[2, 1, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 1, 0, 1, 5, 0],
            &[1, 0, 0, 0, 5, 0],
            &[1, 0, 0, 1, 5, 0x31],
        ];
        for content in contents {
            assert!(matches!(header(&frame, content), Err(Error::Corrupt { .. })), "{content:?}");
        }
        assert!(header(&frame, &[1, 0, 0, 1, 5, 0x21]).is_ok());
    }
}
