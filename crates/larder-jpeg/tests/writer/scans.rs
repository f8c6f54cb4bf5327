//! The entropy-coded data of a scan (T.81, annexes F.1 and G.1).

use super::bits::{BitWriter, category};
use super::{Form, Picture};

/// Writes all MCUs, with restart markers between them.
pub fn write(
    picture: &Picture,
    group: &[usize],
    scan: (u8, u8, u8, u8),
    form: Form,
    writer: &mut BitWriter<'_>,
) {
    let mut state = State { predictions: [0; 4], run: 0, waiting: Vec::new(), low: scan.3 };
    let band = (usize::from(scan.0), usize::from(scan.1));
    for (number, mcu) in picture.mcus(group).into_iter().enumerate() {
        if number > 0 && form.restart_interval > 0 && number.is_multiple_of(form.restart_interval) {
            state.end_bands(writer);
            writer.restart(number / form.restart_interval - 1);
            state.predictions = [0; 4];
        }
        for (component, index) in mcu {
            let block = &picture.components[component].blocks[index];
            match (form.progressive, band.0, scan.2) {
                (false, ..) => {
                    state.dc(writer, component, block);
                    sequential_ac(writer, block);
                }
                (true, 0, 0) => state.dc(writer, component, block),
                (true, 0, _) => writer.put((u32::from((block[0] >> scan.3) as u16) & 1, 1)),
                (true, _, 0) => state.ac_first(writer, band, block),
                (true, ..) => state.ac_refine(writer, band, block),
            }
        }
    }
    state.end_bands(writer);
}

struct State {
    predictions: [i32; 4],
    /// Blocks whose band ended.
    run: u32,
    /// Correction bits of those blocks.
    waiting: Vec<u32>,
    low: u8,
}

impl State {
    fn dc(&mut self, writer: &mut BitWriter<'_>, component: usize, block: &[i16; 64]) {
        let value = i32::from(block[0] >> self.low);
        writer.put_dc(value - self.predictions[component]);
        self.predictions[component] = value;
    }

    fn end_bands(&mut self, writer: &mut BitWriter<'_>) {
        if self.run > 0 {
            let bits = self.run.ilog2();
            writer.put_ac_symbol(bits << 4);
            writer.put((self.run, bits));
            self.run = 0;
        }
        for bit in self.waiting.drain(..) {
            writer.put((bit, 1));
        }
    }

    fn lowered(&self, value: i16) -> i32 {
        let magnitude = i32::from(value).abs() >> self.low;
        if value < 0 { -magnitude } else { magnitude }
    }

    fn ac_first(&mut self, writer: &mut BitWriter<'_>, band: (usize, usize), block: &[i16; 64]) {
        let mut zeros = 0;
        for &coefficient in &block[band.0..=band.1] {
            let value = self.lowered(coefficient);
            if value == 0 {
                zeros += 1;
                continue;
            }
            self.end_bands(writer);
            put_coefficient(writer, &mut zeros, value);
        }
        if zeros > 0 {
            self.run += 1;
        }
    }

    fn ac_refine(&mut self, writer: &mut BitWriter<'_>, band: (usize, usize), block: &[i16; 64]) {
        let values: Vec<_> = block[band.0..=band.1].iter().map(|&value| self.lowered(value)).collect();
        let last_new = values.iter().rposition(|value| value.abs() == 1);
        let (mut zeros, mut corrections) = (0, Vec::new());
        for (place, &value) in values.iter().enumerate() {
            if value == 0 {
                zeros += 1;
                continue;
            }
            while zeros > 15 && last_new.is_some_and(|last| place <= last) {
                self.end_bands(writer);
                writer.put_ac_symbol(0xF0);
                zeros -= 16;
                corrections.drain(..).for_each(|bit| writer.put((bit, 1)));
            }
            if value.abs() > 1 {
                corrections.push(value.unsigned_abs() & 1);
                continue;
            }
            self.end_bands(writer);
            writer.put_ac_symbol(zeros << 4 | 1);
            writer.put((u32::from(value > 0), 1));
            corrections.drain(..).for_each(|bit| writer.put((bit, 1)));
            zeros = 0;
        }
        if zeros > 0 || !corrections.is_empty() {
            self.run += 1;
            self.waiting.append(&mut corrections);
        }
    }
}

fn sequential_ac(writer: &mut BitWriter<'_>, block: &[i16; 64]) {
    let mut zeros = 0;
    for &value in &block[1..] {
        if value == 0 {
            zeros += 1;
        } else {
            put_coefficient(writer, &mut zeros, value.into());
        }
    }
    if zeros > 0 {
        writer.put_ac_symbol(0);
    }
}

fn put_coefficient(writer: &mut BitWriter<'_>, zeros: &mut u32, value: i32) {
    while *zeros > 15 {
        writer.put_ac_symbol(0xF0);
        *zeros -= 16;
    }
    let category = category(value);
    writer.put_ac_symbol(*zeros << 4 | category);
    writer.put_magnitude(value, category);
    *zeros = 0;
}
