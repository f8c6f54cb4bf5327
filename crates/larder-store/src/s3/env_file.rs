//! Files of `NAME=value` lines, as `docker --env-file` and many frameworks read them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the variables of a file, without setting any. Quotes, comments, `export` and references to variables
/// before (`$NAME`, unless in single quotes) are understood.
///
/// # Errors
/// The file can't be read, is larger than 1 MiB, or has a line that sets nothing; the message holds the line's
/// number, and not the line, which may be half of a secret.
pub fn read_env_file(file: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut text = Vec::new();
    File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 1 MiB"));
    }
    let mut variables = BTreeMap::new();
    for pair in dotenvy::from_read_iter(&text[..]) {
        let (name, value) = pair.map_err(|error| match error {
            dotenvy::Error::Io(error) => error,
            dotenvy::Error::LineParse(line, at) => {
                let number = number_of(&text, &line);
                let problem = format!("line {number} is no NAME=value (at character {at})");
                io::Error::new(io::ErrorKind::InvalidData, problem)
            }
            _ => io::Error::new(io::ErrorKind::InvalidData, "a line is no NAME=value"),
        })?;
        variables.insert(name, value);
    }
    Ok(variables)
}

/// Which line it is, from 1; 0 if it can't be told.
fn number_of(text: &[u8], line: &str) -> usize {
    let text = String::from_utf8_lossy(text);
    let first = line.lines().next().unwrap_or_default().trim();
    text.lines().position(|one| one.trim() == first).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_a_bad_one_is_named_without_its_text() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# keys\nexport A=one\nB='t w o'\n\nC=\"x=y\" # why\n").unwrap();
        let variables = read_env_file(file.path()).unwrap();
        let expected = [("A", "one"), ("B", "t w o"), ("C", "x=y")];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        std::fs::write(file.path(), "A=one\nsecret words\n").unwrap();
        let error = read_env_file(file.path()).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    }
}
