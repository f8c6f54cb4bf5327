//! What a file is, by its bytes.
//!
//! One ordered table: to teach Larder a type, add a line. The name a client gave a file is never
//! believed over its bytes.

/// How many bytes from a file's beginning [`FileType::sniff`] wants to see. 4 KiB: enough for an
/// `ftyp` box with many brands and for the tar header at offset 257.
pub const SNIFF_BYTES: usize = 4_096;

/// Whether browsers may show a type in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A picture made of pixels.
    Image,
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything that is read, run or unpacked: always served as an attachment.
    Other,
}

/// A known type of file.
#[derive(Debug, Clone, Copy)]
pub struct FileType {
    /// Short name, unique in the table: `jpeg`.
    pub name: &'static str,
    /// The media type that such a file is served with.
    pub content_type: &'static str,
    /// Other media types that clients declare for it.
    pub aliases: &'static [&'static str],
    /// File name extensions in lower case; the first is the usual one.
    pub extensions: &'static [&'static str],
    /// Whether browsers may show it in place.
    pub family: Family,
    matches: fn(&[u8]) -> bool,
}

impl PartialEq for FileType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for FileType {}

impl FileType {
    /// The type of a file that begins with `head`; `None` for a type that Larder does not know.
    /// Give the first [`SNIFF_BYTES`] bytes, or all there are.
    pub fn sniff(head: &[u8]) -> Option<&'static Self> {
        TYPES.iter().find(|file_type| (file_type.matches)(head))
    }

    /// The type of this short name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|file_type| file_type.name == name)
    }

    /// The type that is served with, or declared as, this media type; parameters are ignored.
    pub fn of_content_type(content_type: &str) -> Option<&'static Self> {
        let essence = essence(content_type);
        TYPES.iter().find(|file_type| file_type.is_called(&essence))
    }

    /// The type whose files end like this, without the dot, in lower case.
    pub fn of_extension(extension: &str) -> Option<&'static Self> {
        TYPES.iter().find(|file_type| file_type.extensions.contains(&extension))
    }

    /// Whether `content_type` names this type.
    pub fn is_declared_by(&self, content_type: &str) -> bool {
        self.is_called(&essence(content_type))
    }

    /// Whether files of this type end in `extension`.
    pub fn has_extension(&self, extension: &str) -> bool {
        self.extensions.contains(&extension)
    }

    /// The usual extension, without its dot.
    pub fn extension(&self) -> &'static str {
        self.extensions.first().copied().unwrap_or("bin")
    }

    /// Whether browsers may show a file of this type in place; everything else is an attachment.
    pub fn is_inline(&self) -> bool {
        self.family != Family::Other
    }

    fn is_called(&self, essence: &str) -> bool {
        self.content_type == essence || self.aliases.contains(&essence)
    }
}

/// A media type without its parameters, in lower case.
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a declared media type says nothing: absent, "some bytes", or what curl declares of any
/// `--data-binary` unless told otherwise.
pub fn says_nothing(content_type: &str) -> bool {
    matches!(
        essence(content_type).as_str(),
        "" | "application/octet-stream" | "binary/octet-stream" | "application/x-www-form-urlencoded"
    )
}

macro_rules! types {
    ($($name:literal $family:ident $content_type:literal $aliases:expr, $extensions:expr, $matches:expr;)*) => {
        /// Every known type, the more particular before the more general.
        pub const TYPES: &[FileType] = &[$(FileType {
            name: $name,
            content_type: $content_type,
            aliases: &$aliases,
            extensions: &$extensions,
            family: Family::$family,
            matches: $matches,
        }),*];
    };
}

types! {
    "jpeg" Image "image/jpeg" ["image/jpg", "image/pjpeg"], ["jpg", "jpeg", "jpe", "jfif"], |h| h.starts_with(b"\xFF\xD8\xFF");
    "png" Image "image/png" ["image/apng", "image/x-png"], ["png", "apng"], |h| h.starts_with(b"\x89PNG\r\n\x1A\n");
    "gif" Image "image/gif" [], ["gif"], |h| h.starts_with(b"GIF87a") || h.starts_with(b"GIF89a");
    "webp" Image "image/webp" [], ["webp"], |h| riff(h, b"WEBP");
    "avif" Image "image/avif" ["image/avif-sequence"], ["avif", "avifs"], |h| brand(h, &[b"avif", b"avis"]);
    "heic" Image "image/heic" ["image/heif", "image/heic-sequence", "image/heif-sequence"], ["heic", "heif", "hif"],
        |h| brand(h, &[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]);
    "tiff" Image "image/tiff" ["image/tif", "image/x-tiff"], ["tif", "tiff"],
        |h| [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| h.starts_with(*magic));
    "bmp" Image "image/bmp" ["image/x-bmp", "image/x-ms-bmp"], ["bmp", "dib"], bmp;
    "ico" Image "image/vnd.microsoft.icon" ["image/x-icon"], ["ico", "cur"],
        |h| (h.starts_with(b"\0\0\x01\0") || h.starts_with(b"\0\0\x02\0")) && h.len() > 22 && h.get(9) == Some(&0);
    "jp2" Image "image/jp2" ["image/jpx", "image/jpm"], ["jp2", "jpx", "j2k"],
        |h| h.starts_with(b"\0\0\0\x0CjP  ") || h.starts_with(b"\xFF\x4F\xFF\x51");
    "jxl" Image "image/jxl" [], ["jxl"], |h| h.starts_with(b"\xFF\x0A") || h.starts_with(b"\0\0\0\x0CJXL ");
    "psd" Other "image/vnd.adobe.photoshop" [], ["psd"], |h| h.starts_with(b"8BPS");
    "mov" Video "video/quicktime" [], ["mov", "qt"], |h| brand(h, &[b"qt  "]);
    "m4a" Audio "audio/mp4" ["audio/x-m4a", "audio/m4a"], ["m4a"], |h| brand(h, &[b"M4A ", b"M4B "]);
    "mp4" Video "video/mp4" ["video/x-m4v", "application/mp4"], ["mp4", "m4v"], |h| h.get(4..8) == Some(b"ftyp");
    "webm" Video "video/webm" ["audio/webm"], ["webm"], |h| ebml(h, b"webm");
    "mkv" Video "video/x-matroska" ["video/matroska"], ["mkv"], |h| ebml(h, b"matroska");
    "avi" Video "video/x-msvideo" ["video/avi"], ["avi"], |h| riff(h, b"AVI ");
    "mpeg" Video "video/mpeg" [], ["mpg", "mpeg"], |h| h.starts_with(b"\0\0\x01\xBA") || h.starts_with(b"\0\0\x01\xB3");
    "ogg" Audio "audio/ogg" ["application/ogg", "video/ogg", "audio/opus"], ["ogg", "oga", "opus", "ogv"], |h| h.starts_with(b"OggS");
    "wav" Audio "audio/wav" ["audio/x-wav", "audio/wave", "audio/vnd.wave"], ["wav"], |h| riff(h, b"WAVE");
    "flac" Audio "audio/flac" ["audio/x-flac"], ["flac"], |h| h.starts_with(b"fLaC");
    "aac" Audio "audio/aac" [], ["aac"], |h| h.starts_with(b"\xFF\xF1") || h.starts_with(b"\xFF\xF9");
    "mp3" Audio "audio/mpeg" ["audio/mp3"], ["mp3"],
        |h| h.starts_with(b"ID3") || matches!(h, [0xFF, 0xFA | 0xFB | 0xF2 | 0xF3, ..]);
    "pdf" Other "application/pdf" ["application/x-pdf"], ["pdf"], |h| h.starts_with(b"%PDF-");
    "elf" Other "application/x-executable" ["application/x-elf", "application/x-sharedlib"], ["elf", "so"], |h| h.starts_with(b"\x7FELF");
    "exe" Other "application/vnd.microsoft.portable-executable" ["application/x-msdownload", "application/x-dosexec"], ["exe", "dll"],
        |h| h.starts_with(b"MZ");
    "zip" Other "application/zip" [
        "application/x-zip-compressed", "application/vnd.comicbook+zip", "application/x-cbz", "application/epub+zip",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet",
    ], ["zip", "cbz", "epub", "docx", "xlsx", "pptx", "odt", "ods", "odp", "jar"],
        |h| h.starts_with(b"PK\x03\x04") || h.starts_with(b"PK\x05\x06");
    "gzip" Other "application/gzip" ["application/x-gzip"], ["gz", "tgz"], |h| h.starts_with(b"\x1F\x8B");
    "zstd" Other "application/zstd" [], ["zst"], |h| h.starts_with(b"\x28\xB5\x2F\xFD");
    "xz" Other "application/x-xz" [], ["xz"], |h| h.starts_with(b"\xFD7zXZ\0");
    "7z" Other "application/x-7z-compressed" [], ["7z", "cb7"], |h| h.starts_with(b"7z\xBC\xAF\x27\x1C");
    "rar" Other "application/vnd.rar" ["application/x-rar-compressed"], ["rar", "cbr"], |h| h.starts_with(b"Rar!\x1A\x07");
    "tar" Other "application/x-tar" [], ["tar"], |h| h.get(257..262) == Some(b"ustar");
    "sqlite" Other "application/vnd.sqlite3" ["application/x-sqlite3"], ["db", "sqlite", "sqlite3"], |h| h.starts_with(b"SQLite format 3\0");
    "svg" Other "image/svg+xml" [], ["svg"], |h| markup(h, &["<svg"]);
    "html" Other "text/html" ["application/xhtml+xml"], ["html", "htm", "xhtml"],
        |h| markup(h, &["<!doctype html", "<html", "<head", "<body", "<script", "<iframe"]);
    "xml" Other "application/xml" ["text/xml"], ["xml"], |h| h.starts_with(b"<?xml");
    "json" Other "application/json" [], ["json", "geojson"], |_| false;
    "csv" Other "text/csv" [], ["csv"], |_| false;
    "markdown" Other "text/markdown" [], ["md"], |_| false;
    "text" Other "text/plain" [], ["txt", "log"], plain_text;
}

fn riff(head: &[u8], form: &[u8; 4]) -> bool {
    head.starts_with(b"RIFF") && head.get(8..12) == Some(form)
}

/// ISO base media files: the major brand, or one of the compatible brands of an `ftyp` box
/// (ISO/IEC 14496-12, section 4.3).
fn brand(head: &[u8], brands: &[&[u8; 4]]) -> bool {
    if head.get(4..8) != Some(b"ftyp") {
        return false;
    }
    let end =
        head.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize).min(head.len());
    let major = head.get(8..12).into_iter();
    // Bytes 12..16 are the minor version, a number that is no brand.
    let compatible = head.get(16..end.max(16)).unwrap_or_default().chunks_exact(4);
    major.chain(compatible).any(|found| brands.iter().any(|brand| found == brand.as_slice()))
}

fn ebml(head: &[u8], doc_type: &[u8]) -> bool {
    head.starts_with(b"\x1A\x45\xDF\xA3")
        && head.iter().take(64).count() > doc_type.len()
        && head[..head.len().min(64)].windows(doc_type.len()).any(|window| window == doc_type)
}

/// `BM` alone is too common a beginning of text: the size of the header that follows is checked.
fn bmp(head: &[u8]) -> bool {
    let header =
        head.get(14..18).and_then(|bytes| bytes.first_chunk::<4>()).map(|bytes| u32::from_le_bytes(*bytes));
    head.starts_with(b"BM") && matches!(header, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

fn markup(head: &[u8], beginnings: &[&str]) -> bool {
    let text = String::from_utf8_lossy(&head[..head.len().min(1_024)]).to_lowercase();
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    // Skip an XML declaration, comments and a doctype that is not HTML's.
    while rest.starts_with("<?") || rest.starts_with("<!--") || rest.starts_with("<!doctype svg") {
        match rest.find('>') {
            Some(end) => rest = rest[end + 1..].trim_start(),
            None => return false,
        }
    }
    beginnings.iter().any(|beginning| rest.starts_with(beginning))
}

fn plain_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character cut in two by the end of the head is no fault of the file.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && !valid.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0C'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn sniffed(head: &[u8]) -> Option<&'static str> {
        FileType::sniff(head).map(|file_type| file_type.name)
    }

    #[test]
    fn bytes_tell_the_type() {
        assert_eq!(sniffed(b"\xFF\xD8\xFF\xE0..JFIF"), Some("jpeg"));
        assert_eq!(sniffed(b"RIFF\x10\0\0\0WEBPVP8 "), Some("webp"));
        assert_eq!(sniffed(b"RIFF\x10\0\0\0WAVEfmt "), Some("wav"));
        assert_eq!(sniffed(b"\0\0\0\x1Cftypmif1\0\0\0\0mif1avifmiaf"), Some("avif"));
        assert_eq!(sniffed(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"), Some("heic"));
        assert_eq!(sniffed(b"\0\0\0\x14ftypqt  \0\0\0\0qt  "), Some("mov"));
        assert_eq!(sniffed(b"\x7FELF\x02\x01\x01"), Some("elf"));
        assert_eq!(sniffed(b"%PDF-1.7\n"), Some("pdf"));
        assert_eq!(sniffed(b"PK\x03\x04"), Some("zip"));
        assert_eq!(sniffed(b"  <!-- x --><svg xmlns="), Some("svg"));
        assert_eq!(sniffed(b"<!DOCTYPE html><p>"), Some("html"));
        assert_eq!(sniffed(b"hello\n"), Some("text"));
        assert_eq!(sniffed("BM ist die Bundes".as_bytes()), Some("text"));
        assert_eq!(sniffed(b"\x01\x02\x03"), None);
        assert_eq!(sniffed(b""), None);
    }

    #[test]
    fn a_character_cut_by_the_end_of_the_head_is_still_text() {
        assert_eq!(sniffed(&"é".as_bytes()[..1]), None);
        assert_eq!(sniffed(&"aé".as_bytes()[..2]), Some("text"));
    }

    #[test]
    fn names_content_types_and_extensions_are_unique() {
        let mut seen = HashSet::new();
        for file_type in TYPES {
            assert!(seen.insert(file_type.name), "name {}", file_type.name);
            for called in file_type.aliases.iter().chain([&file_type.content_type]) {
                assert!(seen.insert(called), "type {called}");
            }
        }
        let mut extensions = HashSet::new();
        for extension in TYPES.iter().flat_map(|file_type| file_type.extensions) {
            assert!(extensions.insert(extension), "extension {extension}");
        }
    }

    #[test]
    fn declared_types_ignore_case_and_parameters() {
        assert_eq!(FileType::of_content_type("IMAGE/JPG; q=1").unwrap().name, "jpeg");
        assert!(says_nothing("application/octet-stream"));
        assert!(!says_nothing("image/png"));
    }
}
