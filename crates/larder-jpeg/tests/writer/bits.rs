//! Bits with stuffed zeros (T.81, section B.1.1.5).

/// A code and its length in bits.
pub type Code = (u32, u32);

pub struct BitWriter<'f> {
    file: &'f mut Vec<u8>,
    bits: u64,
    count: u32,
    long_codes: bool,
}

impl<'f> BitWriter<'f> {
    pub fn new(file: &'f mut Vec<u8>, long_codes: bool) -> Self {
        Self { file, bits: 0, count: 0, long_codes }
    }

    pub fn put(&mut self, (bits, length): Code) {
        self.bits = self.bits << length | u64::from(bits) & ((1 << length) - 1);
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.bits >> self.count) as u8;
            self.file.push(byte);
            if byte == 0xFF {
                self.file.push(0);
            }
        }
    }

    pub fn put_ac_symbol(&mut self, symbol: u32) {
        self.put(super::ac_code(symbol as u8, self.long_codes));
    }

    /// The category of a value as its DC code, and its bits.
    pub fn put_dc(&mut self, value: i32) {
        let category = category(value);
        self.put((category, 4));
        self.put_magnitude(value, category);
    }

    pub fn put_magnitude(&mut self, value: i32, category: u32) {
        let bits = if value < 0 { value - 1 } else { value };
        self.put((bits as u32, category));
    }

    /// Fills the last byte with ones and writes a restart marker.
    pub fn restart(&mut self, number: usize) {
        self.finish();
        self.file.extend([0xFF, 0xD0 + (number % 8) as u8]);
    }

    pub fn finish(&mut self) {
        let missing = (8 - self.count % 8) % 8;
        self.put((0xFF, missing));
    }
}

/// Bits of a magnitude (T.81, table F.1).
pub fn category(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}
