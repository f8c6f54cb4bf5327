//! The markers of a JPEG file up to its first scan (ITU-T T.81, annex B).

use crate::exif::{self, Exif};
use crate::formats::reader::u16_be;
use crate::metadata::xmp_tells_place;

/// Segments that are looked at before the first scan. A file of a camera has some 30; one with
/// several colour profiles' worth of pieces has 255.
const SEGMENTS_MAX: usize = 2_048;

/// Followed by the packet's digest, its length and the piece's place in it: 40 bytes.
const EXTENDED_XMP: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";

/// Bytes to both sides of where two pieces meet, in which a name that lies across them is found.
const SEAM_BYTES: usize = 16;

/// What the markers before the first scan say.
#[derive(Debug, Default)]
pub(crate) struct Header<'a> {
    pub width: u32,
    pub height: u32,
    /// Horizontal and vertical sampling factors of each component.
    pub sampling: Vec<(u8, u8)>,
    pub progressive: bool,
    /// Whether the first scan has fewer components than the frame, so that coefficients must wait.
    pub waits: bool,
    /// The orientation is that of the first block, the place that of any.
    pub exif: Exif,
    has_exif: bool,
    pub has_xmp_gps: bool,
    /// The end of the last piece of extended XMP; a name may go on in the next.
    xmp_tail: &'a [u8],
    /// The colour transform of an Adobe marker.
    pub adobe_transform: Option<u8>,
    /// Where the first scan's marker is.
    pub scans_at: usize,
    icc: Vec<(u8, u8, &'a [u8])>,
}

/// How far the markers could be read.
pub(crate) enum Read<'a> {
    /// Up to the first scan.
    Whole(Header<'a>),
    /// The size is known, the first scan not reached.
    Cut(Header<'a>),
    /// A marker or segment that cannot be.
    Damaged(&'static str),
}

pub(crate) fn read(bytes: &[u8]) -> Read<'_> {
    let mut header = Header::default();
    let mut position = 2;
    for _ in 0..SEGMENTS_MAX {
        // Bytes between segments that are no marker are skipped, as every decoder does.
        while bytes.get(position).is_some_and(|&byte| byte != 0xFF) {
            position += 1;
        }
        while bytes.get(position) == Some(&0xFF) {
            position += 1;
        }
        let Some(&marker) = bytes.get(position) else { return Read::Cut(header) };
        position += 1;
        if matches!(marker, 0x00 | 0x01 | 0xD0..=0xD8) {
            continue;
        }
        if marker == 0xD9 {
            return Read::Damaged("it ends before its first scan");
        }
        let Some(length) = u16_be(bytes, position) else { return Read::Cut(header) };
        if length < 2 {
            return Read::Damaged("a segment is shorter than its own length");
        }
        let Some(content) = bytes.get(position + 2..position + usize::from(length)) else {
            return Read::Cut(header);
        };
        position += usize::from(length);
        match marker {
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                if let Err(reason) = header.frame(marker, content) {
                    return Read::Damaged(reason);
                }
            }
            0xDA => {
                if header.width == 0 {
                    return Read::Damaged("a scan comes before its frame");
                }
                header.scans_at = position - usize::from(length) - 2;
                header.waits =
                    content.first().is_some_and(|&count| usize::from(count) < header.sampling.len());
                return Read::Whole(header);
            }
            0xE0..=0xEF => header.application(marker, content),
            _ => {}
        }
    }
    Read::Damaged("it has too many segments before its first scan")
}

impl<'a> Header<'a> {
    fn frame(&mut self, marker: u8, content: &'a [u8]) -> Result<(), &'static str> {
        if self.width != 0 {
            return Err("it has two frames");
        }
        let (height, width, count) = match (u16_be(content, 1), u16_be(content, 3), content.get(5)) {
            (Some(height), Some(width), Some(count)) => (height, width, usize::from(*count)),
            _ => return Err("its frame header is cut"),
        };
        if width == 0 || height == 0 {
            return Err("its frame header names no size");
        }
        let components = content.get(6..6 + 3 * count).ok_or("its frame header is cut")?;
        self.sampling = components.chunks_exact(3).map(|c| (c[1] >> 4, c[1] & 15)).collect();
        if self.sampling.iter().any(|&(h, v)| !(1..=4).contains(&h) || !(1..=4).contains(&v)) {
            return Err("its sampling factors are impossible");
        }
        (self.width, self.height) = (width.into(), height.into());
        self.progressive = matches!(marker, 0xC2 | 0xC6 | 0xCA | 0xCE);
        Ok(())
    }

    fn application(&mut self, marker: u8, content: &'a [u8]) {
        match marker {
            0xE1 => {
                if let Some(block) = content.strip_prefix(b"Exif\0").and_then(|rest| rest.get(1..)) {
                    let exif = exif::read(block);
                    if !self.has_exif {
                        self.exif.orientation = exif.orientation;
                    }
                    self.exif.has_gps |= exif.has_gps;
                    self.has_exif = true;
                } else if content.starts_with(b"http://ns.adobe.com/xap/1.0/\0") {
                    self.has_xmp_gps |= xmp_tells_place(content);
                } else if content.starts_with(EXTENDED_XMP) {
                    self.extended_xmp(content.get(EXTENDED_XMP.len() + 40..).unwrap_or_default());
                }
            }
            0xE2 => {
                if let Some([number, count, piece @ ..]) = content.strip_prefix(b"ICC_PROFILE\0") {
                    self.icc.push((*number, *count, piece));
                }
            }
            0xEE if content.starts_with(b"Adobe") => self.adobe_transform = content.get(11).copied(),
            _ => {}
        }
    }

    /// A piece of a packet that is too long for one segment (XMP specification, part 3, section 1.1.3.1).
    fn extended_xmp(&mut self, piece: &'a [u8]) {
        let head = &piece[..piece.len().min(SEAM_BYTES)];
        self.has_xmp_gps |= xmp_tells_place(piece) || xmp_tells_place(&[self.xmp_tail, head].concat());
        self.xmp_tail = &piece[piece.len().saturating_sub(SEAM_BYTES)..];
    }

    /// The colour profile, put together from its pieces (ICC.1:2022, annex B.4); nothing if a piece
    /// is missing or there twice.
    pub fn icc(&self) -> Option<Vec<u8>> {
        let count = usize::from(self.icc.first()?.1);
        if self.icc.len() != count {
            return None;
        }
        let mut pieces = self.icc.clone();
        pieces.sort_by_key(|piece| piece.0);
        let whole = (1..).zip(&pieces).all(|(expected, piece)| usize::from(piece.0) == expected);
        whole.then(|| pieces.iter().flat_map(|piece| piece.2).copied().collect())
    }

    pub fn has_icc(&self) -> bool {
        !self.icc.is_empty()
    }

    /// Samples of all components, padded to whole blocks.
    pub fn samples(&self) -> u64 {
        let horizontal = u64::from(self.sampling.iter().map(|s| s.0).max().unwrap_or(1));
        let vertical = u64::from(self.sampling.iter().map(|s| s.1).max().unwrap_or(1));
        let across = u64::from(self.width).div_ceil(8 * horizontal);
        let down = u64::from(self.height).div_ceil(8 * vertical);
        self.sampling.iter().map(|&(h, v)| across * down * 64 * u64::from(h) * u64::from(v)).sum()
    }
}

/// Whether segments of known kinds follow one another up to the first scan with nothing between them,
/// so that no two decoders can see different headers in the file.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let mut position = 2;
    loop {
        let segment = bytes.get(position..).and_then(|rest| rest.first_chunk::<2>());
        match (segment, u16_be(bytes, position + 2)) {
            (Some([0xFF, 0xDA]), _) => return true,
            (Some([0xFF, 0xC0..=0xCF | 0xDB | 0xDD | 0xE0..=0xEF | 0xFE]), Some(length @ 2..)) => {
                position += 2 + usize::from(length);
            }
            _ => return false,
        }
    }
}

/// The bytes from the first scan's marker up to and with the end mark; `None` if there is no end mark.
///
/// It cannot occur within a scan's data, where `FF` is always followed by `00` or a restart mark; the
/// tables between scans may hold any bytes and are passed over as a whole (T.81, section B.1.1.2).
pub(crate) fn scans(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let mut position = at;
    loop {
        let &[first, marker] = bytes.get(position..)?.first_chunk()?;
        position += match (first, marker) {
            (0xFF, 0xD9) => return bytes.get(at..position + 2),
            (0xFF, 0xC0..=0xCF | 0xDA..=0xDF | 0xE0..=0xEF | 0xFE) => {
                2 + usize::from(u16_be(bytes, position + 2)?).max(2)
            }
            _ => 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u16 + 2).to_be_bytes();
        [&[0xFF, marker], &length[..], content].concat()
    }

    fn file(segments: &[Vec<u8>]) -> Vec<u8> {
        [vec![0xFF, 0xD8], segments.concat()].concat()
    }

    const FRAME: &[u8] = &[8, 0, 30, 0, 40, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
    const SCAN: &[u8] = &[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0];

    #[test]
    fn the_frame_tells_size_sampling_and_kind() {
        let bytes = file(&[segment(0xC2, FRAME), segment(0xDA, SCAN)]);
        let Read::Whole(header) = read(&bytes) else { panic!("not whole") };
        assert_eq!((header.width, header.height, header.progressive), (40, 30, true));
        assert_eq!(header.sampling, [(2, 2), (1, 1), (1, 1)]);
        // 3 x 2 units of 16 x 16 pixels: four blocks of light, two of colour.
        assert_eq!(header.samples(), 6 * 64 * 6);
    }

    #[test]
    fn a_profile_in_pieces_is_put_together_in_order() {
        let piece =
            |number: u8, text: &[u8]| segment(0xE2, &[b"ICC_PROFILE\0", &[number, 2][..], text].concat());
        let bytes = file(&[piece(2, b"cd"), piece(1, b"ab"), segment(0xC0, FRAME), segment(0xDA, SCAN)]);
        let Read::Whole(header) = read(&bytes) else { panic!("not whole") };
        assert_eq!(header.icc().as_deref(), Some(&b"abcd"[..]));
        let bytes = file(&[piece(1, b"ab"), segment(0xC0, FRAME), segment(0xDA, SCAN)]);
        let Read::Whole(header) = read(&bytes) else { panic!("not whole") };
        assert_eq!(header.icc(), None);
    }

    #[test]
    fn a_file_cut_in_its_header_is_no_damage_yet() {
        let bytes = file(&[segment(0xE0, b"JFIF\0"), segment(0xC0, FRAME), segment(0xDA, SCAN)]);
        for end in 2..bytes.len() {
            assert!(matches!(read(&bytes[..end]), Read::Cut(_)), "cut at {end}");
        }
    }

    fn header_of(segments: &[Vec<u8>]) -> (u16, bool) {
        let last = [segment(0xC0, FRAME), segment(0xDA, SCAN)];
        let bytes = file(&[segments, &last].concat());
        let Read::Whole(header) = read(&bytes) else { panic!("not whole") };
        (header.exif.orientation.exif(), header.exif.has_gps || header.has_xmp_gps)
    }

    #[test]
    fn the_first_block_turns_the_picture_and_any_block_tells_a_place() {
        let place = b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1A\0\0\0\0\0\0\0\x01\0";
        let turned = exif::orientation_only(crate::Orientation::from_exif(6).unwrap());
        let block = |block: &[u8]| segment(0xE1, &[b"Exif\0\0", block].concat());
        assert_eq!(header_of(&[block(&turned), block(place)]), (6, true));
        assert_eq!(header_of(&[block(place), block(&turned)]), (1, true));
        assert_eq!(header_of(&[block(&turned), block(&turned)]), (6, false));
    }

    #[test]
    fn a_place_in_extended_xmp_is_found_even_across_two_pieces() {
        let piece = |text: &[u8]| segment(0xE1, &[EXTENDED_XMP, &[7; 40], text].concat());
        assert!(header_of(&[piece(b"<exif:GPSLatitude>")]).1);
        assert!(header_of(&[piece(b"<rdf exif:GPSLa"), piece(b"titude=\"1\">")]).1);
        assert!(!header_of(&[piece(b"<rdf exif:GPSLa"), piece(b"<x>titude")]).1);
    }

    #[test]
    fn impossible_headers_are_damage() {
        let two = file(&[segment(0xC0, FRAME), segment(0xC0, FRAME)]);
        let flat = file(&[segment(0xC0, &[8, 0, 0, 0, 40, 1, 1, 0x11, 0])]);
        let early = file(&[segment(0xDA, SCAN)]);
        let short = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 1];
        for bytes in [two, flat, early, short, vec![0xFF, 0xD8, 0xFF, 0xD9]] {
            assert!(matches!(read(&bytes), Read::Damaged(_)), "{bytes:02x?}");
        }
    }
}
