//! Files that are a picture to one program and something else to another.
//!
//! A picture with a ZIP archive behind it, a PDF inside its header or a script in its first bytes
//! passes as a picture and is run as the other thing elsewhere. Honest cameras append data as well
//! (motion photos carry a video), so only carriers that programs really look for are refused.

use larder_core::{Code, Fault, FileType};

/// How much of a file's end is looked at: the longest ZIP end record with its comment (APPNOTE.TXT,
/// section 4.3.16).
pub const TAIL_BYTES: usize = 22 + 65_535;

/// How far from the beginning PDF readers search for their header (ISO 32000-1, annex H, 3.4.1).
const PDF_WITHIN: usize = 1_024;

/// How far browsers' and interpreters' sniffing reaches.
const SCRIPT_WITHIN: usize = 4_096;

const SCRIPTS: &[&str] = &["<script", "<html", "<iframe", "<?php", "<svg"];

/// Refuses a picture that is also an archive, a document or a script.
///
/// # Errors
/// [`Code::TypeMismatch`].
pub fn check(picture: &FileType, head: &[u8], tail: &[u8]) -> Result<(), Fault> {
    let Some(other) = second_nature(head, tail) else {
        return Ok(());
    };
    Err(Fault::new(Code::TypeMismatch, format!("the file is {} and {other} at once", picture.content_type))
        .remedy("save the picture again without the foreign data"))
}

fn second_nature(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    if find(&head[..head.len().min(PDF_WITHIN)], b"%PDF-") {
        return Some("a PDF document");
    }
    if ends_as_zip(tail) {
        return Some("a ZIP archive");
    }
    let beginning = head[..head.len().min(SCRIPT_WITHIN)].to_ascii_lowercase();
    SCRIPTS.iter().any(|script| find(&beginning, script.as_bytes())).then_some("a script or page")
}

/// Whether the end record of a ZIP archive lies where readers look for it: its comment reaches
/// exactly to the end of the file.
fn ends_as_zip(tail: &[u8]) -> bool {
    tail.windows(22).enumerate().any(|(at, record)| {
        let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
        record.starts_with(b"PK\x05\x06") && at + 22 + comment == tail.len()
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_with_a_second_nature_are_told() {
        let zip_end = [b"\xFF\xD8\xFF....PK\x05\x06".as_slice(), &[0; 18]].concat();
        assert_eq!(second_nature(b"\xFF\xD8\xFF", &zip_end), Some("a ZIP archive"));
        assert_eq!(second_nature(b"GIF89a%PDF-1.4", b""), Some("a PDF document"));
        assert_eq!(second_nature(b"GIF89a/*<SCRIPT>alert(1)</script>", b""), Some("a script or page"));
    }

    #[test]
    fn appended_video_and_chance_letters_are_no_second_nature() {
        assert_eq!(second_nature(b"\xFF\xD8\xFF\xE1..Exif", b"....ftypmp42...."), None);
        assert_eq!(
            second_nature(b"\xFF\xD8\xFF", b"PK\x05\x06 but not an end record of the right length"),
            None
        );
    }
}
