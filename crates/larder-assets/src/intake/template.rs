//! Keys for uploads that name none, from the bucket's template.

use larder_core::{ObjectKey, Timestamp, UploadId};

/// Names that may stand in braces.
const FIELDS: &[&str] = &["yyyy", "mm", "dd", "id", "name", "sha256", "ext"];

/// What a template is filled with.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// When the upload came in.
    pub at: Timestamp,
    /// The upload's id: what makes the key unlike any other.
    pub id: UploadId,
    /// The name the client gave, if any.
    pub file_name: Option<&'a str>,
    /// SHA-256 of the bytes in hex.
    pub sha256: &'a str,
    /// The usual extension of the sniffed type.
    pub extension: &'a str,
}

/// Checks a template of the configuration.
///
/// # Errors
/// An unknown field or an open brace; the text names it.
pub fn check(template: &str) -> Result<(), String> {
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let close =
            rest[open..].find('}').ok_or_else(|| format!("key_template \"{template}\" has an open brace"))?;
        let field = &rest[open + 1..open + close];
        if !FIELDS.contains(&field) {
            return Err(format!("key_template holds {{{field}}}; known are {}", FIELDS.join(", ")));
        }
        rest = &rest[open + close + 1..];
    }
    Ok(())
}

/// Fills `template`. What clients choose is reduced to letters, digits, dots, hyphens and
/// underscores, so that it can't shape the path.
///
/// # Errors
/// The filled text is no possible key (a template with `..` or a reserved prefix).
pub fn fill(template: &str, fields: &Fields<'_>) -> Result<ObjectKey, larder_core::KeyError> {
    let date = fields.at.to_string();
    let stem = fields.file_name.map_or("file", |name| name.rsplit_once('.').map_or(name, |(stem, _)| stem));
    template
        .replace("{yyyy}", &date[0..4])
        .replace("{mm}", &date[5..7])
        .replace("{dd}", &date[8..10])
        .replace("{id}", &fields.id.to_string())
        .replace("{name}", &slug(stem))
        .replace("{sha256}", fields.sha256)
        .replace("{ext}", fields.extension)
        .parse()
}

/// At most 80 characters: three bytes each leave room for the rest of a 255-byte path segment.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars().take(80) {
        match character {
            c if c.is_alphanumeric() || matches!(c, '-' | '_') => slug.push(c),
            _ if !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    let trimmed = slug.trim_matches('-');
    if trimmed.is_empty() { "file".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use larder_core::{Ambient, ManualClock};

    use super::*;

    fn filled(template: &str, file_name: &str) -> String {
        let clock = ManualClock::at(Timestamp::from_millis(1_772_366_400_000));
        let ambient = Ambient::repeatable(clock, 1);
        let id = UploadId::new(&ambient);
        let fields =
            Fields { at: ambient.now(), id, file_name: Some(file_name), sha256: "abc", extension: "jpg" };
        fill(template, &fields).unwrap().to_string().replace(&id.to_string(), "<id>")
    }

    #[test]
    fn fields_are_filled_in() {
        assert_eq!(
            filled("{yyyy}/{mm}/{dd}/{id}-{name}.{ext}", "Beach day.JPG"),
            "2026/03/01/<id>-Beach-day.jpg"
        );
        assert_eq!(filled("{sha256}/{id}", "x"), "abc/<id>");
    }

    #[test]
    fn a_clients_file_name_can_not_shape_the_path() {
        assert_eq!(filled("{id}/{name}.{ext}", "../../etc/passwd\0.jpg"), "<id>/etc-passwd.jpg");
        assert_eq!(filled("{id}/{name}.{ext}", "..."), "<id>/file.jpg");
        assert_eq!(filled("{id}/{name}.{ext}", "日本.png"), "<id>/日本.jpg");
    }

    #[test]
    fn unknown_fields_are_named() {
        assert!(check("{id}.{ext}").is_ok());
        assert!(check("{ID}").unwrap_err().contains("{ID}"));
        assert!(check("{id").is_err());
    }
}
