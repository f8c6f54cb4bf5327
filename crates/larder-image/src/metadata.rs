//! Originals without their metadata, not a pixel changed. How is in each format's own file.

use larder_core::FileType;

use crate::Error;
use crate::formats::Format;

/// A copy of a file without EXIF, XMP, IPTC, comments and whatever follows the picture, for the
/// formats that can be rewritten. The colour profile stays; so does the orientation, as a minimal EXIF
/// block of its own. `None` if the file has nothing to strip.
///
/// Made without decoding, so a file that does not decode may come out as damaged as it went in.
///
/// # Errors
/// [`Error::Unsupported`] for other formats, [`Error::Undecodable`] for a damaged structure.
pub fn strip_metadata(bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let head = &bytes[..bytes.len().min(larder_core::file_type::SNIFF_BYTES)];
    let format = FileType::sniff(head).and_then(|file_type| Format::named(file_type.name));
    let format = format.ok_or_else(|| Error::unsupported("a file of unknown type"))?;
    let strip = format.kind().strip;
    let strip = strip.ok_or_else(|| Error::unsupported(format!("stripping the metadata of {format}")))?;
    let stripped = strip(bytes)?;
    Ok((stripped != bytes).then_some(stripped))
}

/// Whether an XMP packet tells a place: `exif:GPSLatitude` as attribute or element (XMP
/// specification, part 2, section 2.3).
pub(crate) fn xmp_tells_place(packet: &[u8]) -> bool {
    const NAME: &[u8] = b"GPSLatitude";
    packet.windows(NAME.len()).any(|window| window == NAME)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::formats::Coding;
    use crate::formats::png::strip as png;
    use crate::formats::webp::riff::{self, Chunk};
    use crate::picture::{Channels, Picture};
    use crate::recipe::Quality;
    use crate::{Deadline, ImageLimits, inspect};

    fn encoded(format: Format) -> Vec<u8> {
        let picture = Picture::new(20, 10, Channels::Rgb, (0..600).map(|n| (n * 7 % 256) as u8).collect());
        let still = format.kind().encode.as_ref().unwrap().still;
        let coding = Coding { quality: Quality::Lossy(80), effort: crate::Effort::Normal };
        still(&picture, coding, Deadline::after(Duration::from_secs(60))).unwrap()
    }

    /// An EXIF block with orientation 6 and a place.
    fn block() -> Vec<u8> {
        let mut block = b"II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0".to_vec();
        block.extend(b"\x25\x88\x04\0\x01\0\0\0\x26\0\0\0\0\0\0\0");
        block.extend(b"\x01\0\x01\0\x02\0\x02\0\0\0N\0\0\0\0\0\0\0");
        block
    }

    fn check(dirty: &[u8], secret: &[u8]) {
        let limits = ImageLimits::default();
        let before = inspect(dirty, &limits).unwrap();
        assert!(before.has_gps && before.orientation.exif() == 6);
        let clean = strip_metadata(dirty).unwrap().unwrap();
        let after = inspect(&clean, &limits).unwrap();
        assert!(!after.has_gps);
        assert_eq!(after.orientation, before.orientation);
        assert!(!clean.windows(secret.len()).any(|window| window == secret));
        let pixels = |bytes: &[u8]| {
            let source = crate::Source::open(bytes, &limits).unwrap();
            let decoded = source.decode(&[], Deadline::after(Duration::from_secs(60))).unwrap();
            decoded.picture().unwrap().pixels().to_vec()
        };
        assert_eq!(pixels(&clean), pixels(dirty));
        assert_eq!(strip_metadata(&clean).unwrap(), None, "stripping twice changes nothing");
    }

    #[test]
    fn a_jpeg_keeps_pixels_and_orientation_and_nothing_else() {
        let plain = encoded(Format::Jpeg);
        let segment = |marker: u8, content: &[u8]| {
            [&[0xFF, marker], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
        };
        let exif = segment(0xE1, &[b"Exif\0\0", &block()[..]].concat());
        let comment = segment(0xFE, b"my secret");
        let dirty = [&plain[..2], &exif, &comment, &plain[2..], b"trailing my secret"].concat();
        check(&dirty, b"my secret");
        // Where it stands does not matter, nor what it calls itself.
        let jfif = segment(0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x01my secret");
        let adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01my secret");
        let reserved = [segment(0xF0, b"my secret"), segment(0x4F, b"my secret")].concat();
        let at_end = plain.len() - 2;
        let body = if plain.get(3) == Some(&0xE0) { &plain[20..at_end] } else { &plain[2..at_end] };
        let between = [&comment[..], &exif].concat();
        let dirty = [&plain[..2], &jfif, &adobe, &exif, body, &between, &plain[at_end..]].concat();
        check(&dirty, b"my secret");
        // Reserved markers make a file that no decoder takes; what calls itself so goes all the same.
        let dirty = [&plain[..2], &jfif, &reserved, body, &plain[at_end..]].concat();
        let clean = strip_metadata(&dirty).unwrap().unwrap();
        assert!(!clean.windows(9).any(|part| part == b"my secret"));
    }

    #[test]
    fn a_segment_between_the_scans_of_a_jpeg_goes_too() {
        let mut plain = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut plain, 80);
        encoder.set_progressive(true);
        let pixels: Vec<u8> = (0..600).map(|n| (n * 7 % 256) as u8).collect();
        encoder.encode(&pixels, 20, 10, jpeg_encoder::ColorType::Rgb).unwrap();
        let scans: Vec<usize> =
            (0..plain.len() - 1).filter(|&at| plain[at] == 0xFF && plain[at + 1] == 0xDA).collect();
        assert!(scans.len() > 2);
        let mut dirty = plain.clone();
        for &at in scans[1..].iter().rev() {
            dirty.splice(at..at, [&[0xFF, 0xFE, 0, 11][..], b"my secret"].concat());
        }
        assert_eq!(strip_metadata(&dirty).unwrap().as_ref(), Some(&plain));
    }

    #[test]
    fn a_png_keeps_pixels_and_orientation_and_nothing_else() {
        let plain = encoded(Format::Png);
        let mut extra = Vec::new();
        png::chunk(&mut extra, *b"eXIf", &block());
        png::chunk(&mut extra, *b"tEXt", b"Comment\0my secret");
        check(&[&plain[..33], &extra, &plain[33..], b"my secret"].concat(), b"my secret");
    }

    #[test]
    fn a_webp_keeps_pixels_and_orientation_and_nothing_else() {
        let plain = encoded(Format::Webp);
        let header =
            riff::Extended { flags: riff::FLAG_EXIF | riff::FLAG_XMP, width: 20, height: 10 }.write();
        let block = block();
        let picture: Vec<Chunk<'_>> = riff::chunks(&plain).unwrap().map(Result::unwrap).collect();
        let dirty =
            riff::write([Chunk { name: *b"VP8X", content: &header }].into_iter().chain(picture).chain([
                Chunk { name: *b"EXIF", content: &block },
                Chunk { name: *b"XMP ", content: b"my secret" },
            ]));
        check(&dirty.unwrap(), b"my secret");
    }

    #[test]
    fn a_frame_of_a_webp_keeps_its_pixels_and_nothing_else() {
        let plain = encoded(Format::Webp);
        let still: Vec<Chunk<'_>> = riff::chunks(&plain).unwrap().map(Result::unwrap).collect();
        let header = riff::Extended { flags: 0x02, width: 20, height: 10 }.write();
        let animation = |frame: &[Chunk<'_>]| {
            let chunks = riff::write(frame.iter().copied()).unwrap();
            let content = [&[0, 0, 0, 0, 0, 0, 19, 0, 0, 9, 0, 0, 50, 0, 0, 0], &chunks[12..]].concat();
            riff::write([
                Chunk { name: *b"VP8X", content: &header },
                Chunk { name: *b"ANIM", content: &[0; 6] },
                Chunk { name: *b"ANMF", content: &content },
            ])
        };
        let secret = Chunk { name: *b"XMP ", content: b"my secret" };
        let dirty = animation(&[&[secret], &still[..], &[secret]].concat()).unwrap();
        assert_eq!(strip_metadata(&dirty), Ok(Some(animation(&still).unwrap())));
    }

    #[test]
    fn what_has_no_metadata_is_left_alone() {
        for format in [Format::Jpeg, Format::Png, Format::Webp] {
            assert_eq!(strip_metadata(&encoded(format)), Ok(None), "{format}");
        }
    }

    #[test]
    fn cut_files_and_other_formats_are_refused() {
        assert!(strip_metadata(&encoded(Format::Png)[..40]).is_err());
        assert!(strip_metadata(&encoded(Format::Jpeg)[..40]).is_err());
        assert!(strip_metadata(&encoded(Format::Webp)[..40]).is_err());
        assert!(matches!(strip_metadata(b"GIF89a"), Err(Error::Unsupported { .. })));
    }
}
