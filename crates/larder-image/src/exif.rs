//! The two facts of an EXIF block that Larder looks at: orientation, and whether there is a place.
//!
//! An EXIF block is a small TIFF file (Exif 2.32, section 4.5.2); only its first directory is read.

use crate::Orientation;

/// What an EXIF block says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exif {
    pub orientation: Orientation,
    pub has_gps: bool,
}

const TAG_ORIENTATION: u16 = 0x0112;
const TAG_GPS: u16 = 0x8825;

/// Reads a block that begins with its TIFF header. Metadata is never a reason to refuse a picture:
/// what can't be read says nothing.
pub(crate) fn read(block: &[u8]) -> Exif {
    let mut exif = Exif::default();
    let Some(tiff) = Tiff::open(block) else { return exif };
    let Some(directory) = tiff.u32(4) else { return exif };
    let Some(count) = tiff.u16(directory as usize) else { return exif };
    for index in 0..usize::from(count) {
        let entry = (directory as usize).saturating_add(2 + index * 12);
        let Some(tag) = tiff.u16(entry) else { break };
        match tag {
            // A SHORT lies at the beginning of the value field.
            TAG_ORIENTATION => {
                let value = tiff.u16(entry + 8).and_then(Orientation::from_exif);
                exif.orientation = value.unwrap_or_default();
            }
            TAG_GPS => exif.has_gps |= gps_says_something(&tiff, entry),
            _ => {}
        }
    }
    exif
}

/// An empty GPS directory, which some cameras write, tells no place.
fn gps_says_something(tiff: &Tiff<'_>, entry: usize) -> bool {
    tiff.u32(entry + 8).and_then(|directory| tiff.u16(directory as usize)).is_some_and(|entries| entries > 0)
}

/// The smallest EXIF block that says this orientation, from its TIFF header.
pub(crate) fn orientation_only(orientation: Orientation) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend(orientation.exif().to_le_bytes());
    block.extend([0; 6]);
    block
}

struct Tiff<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> Tiff<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        Some(Self { bytes, big_endian })
    }

    fn u16(&self, offset: usize) -> Option<u16> {
        let bytes = *self.bytes.get(offset..)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, offset: usize) -> Option<u32> {
        let bytes = *self.bytes.get(offset..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_block_reads_back() {
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            assert_eq!(read(&orientation_only(orientation)), Exif { orientation, has_gps: false });
        }
    }

    #[test]
    fn big_endian_blocks_are_read() {
        let block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        assert_eq!(read(block).orientation.exif(), 6);
    }

    #[test]
    fn a_place_counts_only_if_its_directory_has_entries() {
        let gps = |offset: u8| {
            [
                b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0".as_slice(),
                &[offset, 0, 0, 0],
                &[0; 4],
                &[1, 0],
            ]
            .concat()
        };
        assert!(read(&gps(26)).has_gps);
        assert!(!read(&gps(22)).has_gps);
        assert!(!read(&gps(200)).has_gps);
    }

    #[test]
    fn nonsense_says_nothing() {
        for block in [
            &b""[..],
            b"II*\0",
            b"II*\0\xff\xff\xff\xff",
            b"XX*\0\x08\0\0\0\xff\xff",
            b"II*\0\x08\0\0\0\xff\xff",
        ] {
            assert_eq!(read(block), Exif::default());
        }
    }
}
