//! A small JPEG writer: from quantised coefficients to files of every process and sampling.
#![allow(dead_code, reason = "each test uses a part of it")]

mod bits;
mod scans;

use bits::{BitWriter, Code};

/// A component of a picture to write.
pub struct Component {
    pub sampling: (usize, usize),
    /// Blocks of a row, whole MCUs.
    across: usize,
    /// In zig-zag order; as many rows as whole MCUs have.
    pub blocks: Vec<[i16; 64]>,
    /// Blocks across and down that belong to the picture.
    pub size: (usize, usize),
}

/// A picture to write.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
}

/// How to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    pub progressive: bool,
    /// Several components in a scan, where that is possible.
    pub interleaved: bool,
    pub restart_interval: usize,
    /// Codes of 2 to 8 and of 16 bits, instead of 8 and 9.
    pub long_codes: bool,
}

/// The step of each coefficient, in zig-zag order.
pub const STEP: fn(usize) -> i16 = |place| 2 + place as i16 / 4;

/// A small generator (xorshift), so that tests repeat themselves.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn block(&mut self) -> [i16; 64] {
        let fullness = [0, 2, 8, 64][self.next() as usize % 4];
        std::array::from_fn(|place| match (place, self.next()) {
            (0, bits) => (bits % 301) as i16 - 150,
            (_, bits) if bits % 64 >= fullness => 0,
            (_, bits) => ((bits >> 8) % 41) as i16 - 20,
        })
    }
}

impl Picture {
    /// Of random coefficients.
    pub fn random(width: usize, height: usize, sampling: &[(usize, usize)], seed: u64) -> Self {
        let most = sampling.iter().fold((1, 1), |most, s| (s.0.max(most.0), s.1.max(most.1)));
        let mcus = (width.div_ceil(8 * most.0), height.div_ceil(8 * most.1));
        let mut random = Random(seed | 1);
        let components = sampling.iter().map(|&sampling| {
            let across = mcus.0 * sampling.0;
            let blocks = (0..across * mcus.1 * sampling.1).map(|_| random.block()).collect();
            let size =
                ((width * sampling.0).div_ceil(8 * most.0), (height * sampling.1).div_ceil(8 * most.1));
            Component { sampling, across, blocks, size }
        });
        Self { width, height, components: components.collect() }
    }

    /// Whether one scan may hold all components.
    pub fn can_interleave(&self) -> bool {
        self.components.iter().map(|c| c.sampling.0 * c.sampling.1).sum::<usize>() <= 10
    }

    pub fn write(&self, form: Form) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8];
        segment(
            &mut file,
            0xDB,
            &std::iter::once(0).chain((0..64).map(|p| STEP(p) as u8)).collect::<Vec<_>>(),
        );
        let mut frame = vec![8];
        frame.extend((self.height as u16).to_be_bytes());
        frame.extend((self.width as u16).to_be_bytes());
        frame.push(self.components.len() as u8);
        for (id, component) in self.components.iter().enumerate() {
            frame.extend([id as u8 + 1, (component.sampling.0 << 4 | component.sampling.1) as u8, 0]);
        }
        segment(&mut file, if form.progressive { 0xC2 } else { 0xC0 }, &frame);
        segment(
            &mut file,
            0xC4,
            &[&[0x00_u8][..], &[0, 0, 0, 12], &[0; 12], &(0..12).collect::<Vec<_>>()].concat(),
        );
        segment(&mut file, 0xC4, &ac_table(form.long_codes));
        segment(&mut file, 0xDD, &(form.restart_interval as u16).to_be_bytes());
        let all: Vec<_> = (0..self.components.len()).collect();
        let together = form.interleaved && self.can_interleave();
        let groups: Vec<&[usize]> = if together { vec![&all] } else { all.chunks(1).collect() };
        if form.progressive {
            self.write_progressive(&mut file, &groups, form);
        } else {
            for group in groups {
                self.write_scan(&mut file, group, (0, 63, 0, 0), form);
            }
        }
        file.extend([0xFF, 0xD9]);
        file
    }

    fn write_progressive(&self, file: &mut Vec<u8>, groups: &[&[usize]], form: Form) {
        for group in groups {
            self.write_scan(file, group, (0, 0, 0, 1), form);
        }
        for component in 0..self.components.len() {
            for scan in [(1, 5, 0, 2), (6, 63, 0, 1), (1, 5, 2, 1)] {
                self.write_scan(file, &[component], scan, form);
            }
        }
        for group in groups {
            self.write_scan(file, group, (0, 0, 1, 0), form);
        }
        for component in 0..self.components.len() {
            self.write_scan(file, &[component], (1, 63, 1, 0), form);
        }
    }

    /// A scan of a band from `scan.0` to `scan.1`, with the bits from `scan.2` down to `scan.3`.
    pub fn write_scan(&self, file: &mut Vec<u8>, group: &[usize], scan: (u8, u8, u8, u8), form: Form) {
        let mut header = vec![group.len() as u8];
        header.extend(group.iter().flat_map(|&component| [component as u8 + 1, 0]));
        header.extend([scan.0, scan.1, scan.2 << 4 | scan.3]);
        segment(file, 0xDA, &header);
        let mut writer = BitWriter::new(file, form.long_codes);
        scans::write(self, group, scan, form, &mut writer);
        writer.finish();
    }

    /// The blocks of each MCU of a scan: component and index.
    fn mcus(&self, group: &[usize]) -> Vec<Vec<(usize, usize)>> {
        if let [component] = *group {
            let Component { size, across, .. } = self.components[component];
            let places = (0..size.1).flat_map(|y| (0..size.0).map(move |x| y * across + x));
            return places.map(|index| vec![(component, index)]).collect();
        }
        let first = &self.components[group[0]];
        let across = first.across / first.sampling.0;
        let down = first.blocks.len() / first.across / first.sampling.1;
        let mcu = |column: usize, row: usize| {
            let mut blocks = Vec::new();
            for &component in group {
                let Component { sampling: (h, v), across, .. } = self.components[component];
                let places = (0..v).flat_map(|y| (0..h).map(move |x| (x, y)));
                blocks.extend(places.map(|(x, y)| (component, (row * v + y) * across + column * h + x)));
            }
            blocks
        };
        (0..down)
            .flat_map(|row| (0..across).map(move |column| (column, row)))
            .map(|(c, r)| mcu(c, r))
            .collect()
    }

    /// The coefficients of a block that belongs to the picture.
    pub fn block(&self, component: usize, x: usize, y: usize) -> &[i16; 64] {
        let component = &self.components[component];
        &component.blocks[y * component.across + x]
    }
}

pub fn segment(file: &mut Vec<u8>, marker: u8, content: &[u8]) {
    file.extend([0xFF, marker]);
    file.extend((content.len() as u16 + 2).to_be_bytes());
    file.extend(content);
}

/// A table of all 256 symbols.
fn ac_table(long_codes: bool) -> Vec<u8> {
    let mut counts = [0_u8; 16];
    if long_codes {
        counts[1..8].fill(1);
        counts[15] = 249;
    } else {
        (counts[7], counts[8]) = (254, 2);
    }
    [&[0x10][..], &counts, &(0..=255).collect::<Vec<_>>()].concat()
}

/// The code of an AC symbol in that table.
fn ac_code(symbol: u8, long_codes: bool) -> Code {
    let symbol = u32::from(symbol);
    match (long_codes, symbol) {
        (false, 0..254) => (symbol, 8),
        (false, _) => (symbol + 254, 9),
        // 00, 010, 0110 and so on, then those that begin with 0111_1111 or 1.
        (true, 0..7) => ((1 << (symbol + 1)) - 2, symbol + 2),
        (true, _) => (0x7F00 + symbol - 7, 16),
    }
}
