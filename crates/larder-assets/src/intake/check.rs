//! What can be judged before a file is decoded: its type, the bucket's list, the header's promises.

use larder_core::{Code, Fault, FileType, ObjectKey, file_type, key::extension_of, limits::ImageLimits};

use super::{polyglot, stage};
use crate::policy::BucketPolicy;

/// What a client says of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claims<'a> {
    /// The media type it declares.
    pub content_type: Option<&'a str>,
    /// The name it gives the file.
    pub file_name: Option<&'a str>,
    /// The key it chose.
    pub key: Option<&'a ObjectKey>,
}

/// The beginning and end of a file.
#[derive(Debug, Clone, Copy)]
pub struct Glimpse<'a> {
    /// The first bytes, at most [`stage::HEAD_BYTES`].
    pub head: &'a [u8],
    /// The last bytes, at most [`polyglot::TAIL_BYTES`].
    pub tail: &'a [u8],
    /// Whether `head` is the whole file.
    pub is_whole: bool,
}

/// Judges a file by its bytes against what the client says and the bucket takes.
///
/// # Errors
/// [`Code::UnsupportedType`], [`Code::TypeMismatch`], or what the header inspection of a picture
/// refuses: [`Code::ImageLimitExceeded`], [`Code::UndecodableImage`].
pub fn check(
    policy: &BucketPolicy,
    limits: &ImageLimits,
    claims: &Claims<'_>,
    glimpse: &Glimpse<'_>,
) -> Result<Option<&'static FileType>, Fault> {
    let found = FileType::sniff(stage::sniffable(glimpse.head));
    if let Some(claimed) = contradiction(claims, found) {
        let is = found.map_or("of no known type".to_owned(), |known| known.content_type.to_owned());
        return Err(Fault::new(Code::TypeMismatch, format!("the bytes are {is}, but {claimed}"))
            .remedy("send the file with its own type and extension"));
    }
    if !policy.accepts(found) {
        let is = found.map_or("a file of no known type".to_owned(), |known| known.content_type.to_owned());
        return Err(Fault::new(
            Code::UnsupportedType,
            format!("{is} is not accepted here; accepted are {}", policy.accept.join(", ")),
        )
        .remedy("convert the file, or add its type to the bucket's accept"));
    }
    if let Some(picture) = found.filter(|known| BucketPolicy::is_picture(known)) {
        polyglot::check(picture, glimpse.head, glimpse.tail)?;
        check_header(limits, glimpse)?;
    }
    Ok(found)
}

fn check_header(limits: &ImageLimits, glimpse: &Glimpse<'_>) -> Result<(), Fault> {
    if glimpse.is_whole {
        larder_image::inspect(glimpse.head, limits)?;
    } else {
        larder_image::inspect_head(glimpse.head, limits)?;
    }
    Ok(())
}

/// The first claim that the bytes contradict, as text.
fn contradiction(claims: &Claims<'_>, found: Option<&FileType>) -> Option<String> {
    if let Some(declared) = claims.content_type.filter(|text| !file_type::says_nothing(text)) {
        let agrees = match FileType::of_content_type(declared) {
            Some(claimed) => may_be(found, claimed),
            // A type Larder does not know can't be contradicted by bytes it does not know either.
            None => found.is_none_or(|known| known.name == "text"),
        };
        if !agrees {
            return Some(format!("the content type says {}", file_type::essence(declared)));
        }
    }
    let names = [claims.file_name.and_then(extension_of), claims.key.and_then(ObjectKey::extension)];
    let wrong = names
        .into_iter()
        .flatten()
        .find(|extension| FileType::of_extension(extension).is_some_and(|claimed| !may_be(found, claimed)))?;
    Some(format!("the name ends in .{wrong}"))
}

/// Whether bytes that were sniffed as `found` may be a file that calls itself `claimed`. Formats
/// made of plain text have no magic bytes, so text may be any of them.
fn may_be(found: Option<&FileType>, claimed: &FileType) -> bool {
    match found {
        Some(known) if known == claimed => true,
        Some(known) if known.name == "text" => matches!(claimed.name, "json" | "csv" | "markdown" | "xml"),
        Some(_) => false,
        // Sniffing MPEG audio and text is a guess; other types have magic bytes that were absent.
        None => matches!(claimed.name, "mp3" | "mpeg" | "aac" | "text" | "csv"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG_HEAD: &[u8] = b"\x89PNG\r\n\x1A\n";

    fn judge(
        accept: &str,
        content_type: &str,
        name: &str,
        head: &[u8],
    ) -> Result<Option<&'static str>, Code> {
        let policy = BucketPolicy { accept: vec![accept.to_owned()], ..BucketPolicy::default() };
        let claims = Claims { content_type: Some(content_type), file_name: Some(name), key: None };
        let glimpse = Glimpse { head, tail: head, is_whole: true };
        check(&policy, &policy.image, &claims, &glimpse)
            .map(|found| found.map(|known| known.name))
            .map_err(|fault| fault.code)
    }

    #[test]
    fn an_elf_named_png_is_refused_by_its_bytes() {
        assert_eq!(judge("*/*", "", "a.png", b"\x7FELF\x02\x01\x01"), Err(Code::TypeMismatch));
        assert_eq!(judge("*/*", "image/png", "a", b"\x7FELF\x02\x01\x01"), Err(Code::TypeMismatch));
        assert_eq!(judge("image/*", "", "a", b"\x7FELF\x02\x01\x01"), Err(Code::UnsupportedType));
        assert_eq!(judge("*/*", "", "a", b"\x7FELF\x02\x01\x01"), Ok(Some("elf")));
    }

    #[test]
    fn a_wrong_extension_or_type_is_refused() {
        assert_eq!(judge("*/*", "application/pdf", "a.pdf", b"%PDF-1.7"), Ok(Some("pdf")));
        assert_eq!(judge("*/*", "application/pdf", "a.jpg", b"%PDF-1.7"), Err(Code::TypeMismatch));
        assert_eq!(judge("*/*", "image/jpeg", "a.pdf", b"%PDF-1.7"), Err(Code::TypeMismatch));
        assert_eq!(judge("*/*", "application/octet-stream", "a.PDF", b"%PDF-1.7"), Ok(Some("pdf")));
    }

    #[test]
    fn text_may_be_any_format_made_of_text() {
        assert_eq!(judge("*/*", "application/json", "a.json", b"{}"), Ok(Some("text")));
        assert_eq!(judge("*/*", "application/x-ndjson", "a.ndjson", b"{}"), Ok(Some("text")));
        assert_eq!(judge("*/*", "image/png", "a.png", b"{}"), Err(Code::TypeMismatch));
    }

    #[test]
    fn a_picture_whose_header_is_broken_is_refused_before_decoding() {
        assert!(judge("*/*", "image/png", "a.png", PNG_HEAD).is_err());
    }
}
