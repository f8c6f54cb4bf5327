//! What the segments before the first scan say (T.81, annex B.2).

use crate::frame::{self, Frame};
use crate::marker::{self, Markers, Segment};
use crate::{Error, Scale, Unsupported};

/// Segments looked at before the first scan. A file of a camera has some 30; one with a colour profile and
/// an extended XMP packet in pieces has hundreds.
const SEGMENTS_MAX: usize = 4_096;

/// An application segment (APP0 to APP15), uninterpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppSegment<'a> {
    /// 0 to 15.
    pub number: u8,
    /// Bytes from the start of the file to `content`.
    pub offset: usize,
    /// Without marker and length.
    pub content: &'a [u8],
}

/// The colours that the components of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorModel {
    /// One component.
    Grey,
    /// Luma and two colour differences (ITU-R BT.601, full range).
    YCbCr,
    /// Red, green, blue.
    Rgb,
    /// Four inks; see [`Header::is_inverted`].
    Cmyk,
    /// YCbCr of the three inks, and black; see [`Header::is_inverted`].
    Ycck,
    /// Two components, which no convention gives a meaning.
    Unknown,
}

/// What a file says before its first scan.
#[derive(Debug, Clone)]
pub struct Header<'a> {
    pub(crate) bytes: &'a [u8],
    /// Size, components, kind.
    pub frame: Frame,
    /// MCUs between restart markers in the first scan; 0 if there are no restart markers.
    pub restart_interval: u16,
    /// The colour transform of an Adobe segment: 0 none, 1 YCbCr, 2 YCCK; `None` without that segment.
    pub adobe_transform: Option<u8>,
    /// Whether there is a JFIF segment, which makes three components YCbCr.
    pub has_jfif: bool,
    /// The application segments before the first scan, in order.
    pub app_segments: Vec<AppSegment<'a>>,
    /// Components of the first scan: fewer than the frame has if scans are not interleaved.
    pub first_scan_components: u8,
    /// Bytes from the start of the file to the content of the first scan's header.
    pub first_scan_offset: usize,
}

impl<'a> Header<'a> {
    /// Reads the segments up to the first scan; nothing is decoded and little memory taken.
    ///
    /// # Errors
    ///
    /// `Truncated` if the bytes end before the first scan's header does, which may only mean that more of
    /// the file is to come; `Corrupt`; `Unsupported`, by name.
    ///
    /// ```
    /// # let file = larder_jpeg::doc_example();
    /// let header = larder_jpeg::Header::read(&file)?;
    /// assert_eq!((header.frame.width, header.frame.height), (8, 8));
    /// assert!(!header.frame.progressive);
    /// # Ok::<(), larder_jpeg::Error>(())
    /// ```
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut markers = Markers::new(bytes)?;
        let mut frame = None;
        let (mut restart_interval, mut adobe_transform, mut has_jfif) = (0, None, false);
        let mut app_segments = Vec::new();
        for _ in 0..SEGMENTS_MAX {
            let segment = markers.next_segment()?;
            refuse_unsupported(&segment)?;
            match segment.marker {
                marker if frame::is_frame(marker) => {
                    let before = frame.replace(Frame::parse(&segment)?);
                    if before.is_some() {
                        return Err(Error::corrupt("a second frame header", segment.offset));
                    }
                }
                marker::DRI => restart_interval = read_restart_interval(&segment)?,
                marker::APP0..=marker::APP15 => {
                    let app = AppSegment {
                        number: segment.marker - marker::APP0,
                        offset: segment.offset,
                        content: segment.content,
                    };
                    has_jfif |= app.number == 0 && app.content.starts_with(b"JFIF\0");
                    adobe_transform = adobe(&app).or(adobe_transform);
                    app_segments.push(app);
                }
                marker::EOI => {
                    return Err(Error::corrupt("the file ends before its first scan", segment.offset));
                }
                marker::SOS => {
                    let frame = frame.ok_or_else(|| {
                        Error::corrupt("a scan comes before its frame header", segment.offset)
                    })?;
                    return Ok(Self {
                        bytes,
                        frame,
                        restart_interval,
                        adobe_transform,
                        has_jfif,
                        app_segments,
                        first_scan_components: segment.content.first().copied().unwrap_or(0),
                        first_scan_offset: segment.offset,
                    });
                }
                _ => {}
            }
        }
        Err(Error::corrupt("too many segments before the first scan", markers.position))
    }

    /// What the components are, decided as libjpeg does: by JFIF, then Adobe, then the identifiers.
    pub fn color_model(&self) -> ColorModel {
        let ids: Vec<_> = self.frame.components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), self.adobe_transform) {
            ([_], _) => ColorModel::Grey,
            ([_, _], _) => ColorModel::Unknown,
            ([_, _, _, _], Some(2)) => ColorModel::Ycck,
            ([_, _, _, _], _) => ColorModel::Cmyk,
            (_, _) if self.has_jfif => ColorModel::YCbCr,
            (_, Some(0)) => ColorModel::Rgb,
            ([b'R', b'G', b'B'], None) => ColorModel::Rgb,
            _ => ColorModel::YCbCr,
        }
    }

    /// Whether four components count light, not ink: files with an Adobe segment store 255 minus the
    /// amount of ink (Adobe technical note 5116; what all such files do, rather than what it says).
    pub fn is_inverted(&self) -> bool {
        self.frame.components.len() == 4 && self.adobe_transform.is_some()
    }

    /// The TIFF structure of an Exif segment, without the `Exif` that precedes it.
    pub fn exif(&self) -> Option<&'a [u8]> {
        self.app(1).find_map(|content| content.strip_prefix(b"Exif\0")?.get(1..))
    }

    /// The main XMP packet.
    pub fn xmp(&self) -> Option<&'a [u8]> {
        self.app(1).find_map(|content| content.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0"))
    }

    /// The colour profile, put together from its pieces (ICC.1:2022, annex B.4); `None` if there is none, or
    /// a piece is missing or there twice.
    pub fn icc_profile(&self) -> Option<Vec<u8>> {
        let mut pieces: Vec<(u8, u8, &[u8])> = Vec::new();
        for content in self.app(2) {
            if let Some([number, count, piece @ ..]) = content.strip_prefix(b"ICC_PROFILE\0") {
                pieces.push((*number, *count, piece));
            }
        }
        pieces.sort_by_key(|piece| piece.0);
        let count = pieces.first()?.1;
        let whole = pieces.iter().map(|piece| piece.0).eq(1..=count) && pieces.iter().all(|p| p.1 == count);
        whole.then(|| pieces.iter().flat_map(|piece| piece.2).copied().collect())
    }

    fn app(&self, number: u8) -> impl Iterator<Item = &'a [u8]> {
        self.app_segments.iter().filter(move |app| app.number == number).map(|app| app.content)
    }

    /// The most bytes that [`decode`](crate::decode) holds at once at this scale: planes, coefficients where
    /// scans refine one another, tables. The file itself is not counted.
    pub fn memory_bytes(&self, scale: Scale) -> u64 {
        /// Bit reader, look-up tables, waiting blocks.
        const WORKING_BYTES: u64 = 1 << 19;
        let (samples, coefficients) = (scale.block_side().pow(2) as u64, 2 * self.coefficients(scale) as u64);
        let blocks: u64 = (0..self.frame.components.len()).map(|index| self.blocks(index)).sum();
        blocks * (samples + coefficients) + WORKING_BYTES
    }

    /// Coefficients of each block that are kept until all scans are read.
    pub(crate) fn coefficients(&self, scale: Scale) -> usize {
        match (self.frame.progressive, scale) {
            (false, _) => 0,
            (true, Scale::Eighth) => 1,
            (true, _) => 64,
        }
    }

    pub(crate) fn blocks(&self, component: usize) -> u64 {
        let (across, down) = self.frame.blocks(component);
        across as u64 * down as u64
    }
}

/// Markers of processes that are not decoded, apart from those of frames.
pub(crate) fn refuse_unsupported(segment: &Segment<'_>) -> Result<(), Error> {
    match segment.marker {
        marker::DAC => Err(Error::Unsupported(Unsupported::Arithmetic)),
        marker::DHP | marker::EXP => Err(Error::Unsupported(Unsupported::Hierarchical)),
        marker::DNL => Err(Error::Unsupported(Unsupported::HeightByDnl)),
        _ => Ok(()),
    }
}

/// T.81, section B.2.4.4.
pub(crate) fn read_restart_interval(segment: &Segment<'_>) -> Result<u16, Error> {
    match segment.content.try_into() {
        Ok(bytes) => Ok(u16::from_be_bytes(bytes)),
        Err(_) => Err(Error::corrupt("a restart interval's segment has the wrong length", segment.offset)),
    }
}

/// The colour transform of an Adobe segment (Adobe technical note 5116).
fn adobe(app: &AppSegment<'_>) -> Option<u8> {
    if app.number == 14 && app.content.starts_with(b"Adobe") { app.content.get(11).copied() } else { None }
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
    fn the_header_tells_size_kind_and_restarts() {
        let bytes = file(&[segment(0xC2, FRAME), segment(0xDD, &[1, 2]), segment(0xDA, SCAN)]);
        let header = Header::read(&bytes).unwrap();
        assert_eq!((header.frame.width, header.frame.height, header.frame.progressive), (40, 30, true));
        assert_eq!((header.restart_interval, header.first_scan_components), (0x102, 3));
        assert_eq!(header.color_model(), ColorModel::YCbCr);
    }

    #[test]
    fn metadata_is_handed_out_as_it_is() {
        let piece =
            |number: u8, text: &[u8]| segment(0xE2, &[b"ICC_PROFILE\0", &[number, 2][..], text].concat());
        let rest = [segment(0xC0, FRAME), segment(0xDA, SCAN)].concat();
        let exif = segment(0xE1, b"Exif\0\0MM");
        let bytes = file(&[piece(2, b"cd"), exif, piece(1, b"ab"), rest.clone()]);
        let header = Header::read(&bytes).unwrap();
        assert_eq!(header.icc_profile().as_deref(), Some(&b"abcd"[..]));
        assert_eq!(header.exif(), Some(&b"MM"[..]));
        assert_eq!(header.xmp(), None);
        let bytes = file(&[piece(1, b"ab"), rest]);
        assert_eq!(Header::read(&bytes).unwrap().icc_profile(), None);
    }

    #[test]
    fn a_file_cut_in_its_header_is_truncated() {
        let bytes = file(&[segment(0xE0, b"JFIF\0"), segment(0xC0, FRAME), segment(0xDA, SCAN)]);
        for end in 2..bytes.len() {
            assert!(matches!(Header::read(&bytes[..end]), Err(Error::Truncated(_))), "cut at {end}");
        }
    }

    #[test]
    fn impossible_headers_are_damage() {
        let two = file(&[segment(0xC0, FRAME), segment(0xC0, FRAME)]);
        let early = file(&[segment(0xDA, SCAN)]);
        let short = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 1];
        for bytes in [two, early, short, vec![0xFF, 0xD8, 0xFF, 0xD9], vec![0xFF, 0xD8, 0xFF, 0xD8]] {
            assert!(matches!(Header::read(&bytes), Err(Error::Corrupt { .. })), "{bytes:02x?}");
        }
        assert_eq!(Header::read(b"GIF89a").unwrap_err(), Error::NotJpeg);
    }

    #[test]
    fn an_adobe_segment_decides_colours() {
        let adobe = |transform| segment(0xEE, &[b"Adobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat());
        let four = &[8, 0, 8, 0, 8, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0];
        for (transform, model) in [(0, ColorModel::Cmyk), (2, ColorModel::Ycck)] {
            let bytes = file(&[adobe(transform), segment(0xC0, four), segment(0xDA, SCAN)]);
            let header = Header::read(&bytes).unwrap();
            assert_eq!((header.color_model(), header.is_inverted()), (model, true));
        }
        let bytes = file(&[adobe(0), segment(0xC0, FRAME), segment(0xDA, SCAN)]);
        assert_eq!(Header::read(&bytes).unwrap().color_model(), ColorModel::Rgb);
    }
}
