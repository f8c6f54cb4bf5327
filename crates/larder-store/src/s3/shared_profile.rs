//! Files in which the tools of AWS keep the credentials of a person (`~/.aws/credentials`), by profiles.
//!
//! Source of the format: AWS SDKs and Tools Reference Guide, "Using shared config and credentials files".

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::S3Key;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What such a file says of one profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedProfile {
    /// Its access key, if both parts of one are there.
    pub key: Option<S3Key>,
    /// Its region.
    pub region: Option<String>,
}

impl SharedProfile {
    /// Reads one profile of a credentials file (`[name]`) or a configuration file (`[profile name]`); `None` if
    /// the file does not hold it.
    ///
    /// # Errors
    /// The file can't be read, is no text, or is larger than 1 MiB.
    pub fn read(file: &Path, profile: &str) -> io::Result<Option<Self>> {
        let mut text = String::new();
        File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 1 MiB"));
        }
        Ok(Self::parse(&text, profile))
    }

    /// As [`SharedProfile::read`], from the file's text.
    pub fn parse(text: &str, profile: &str) -> Option<Self> {
        let (mut found, mut inside) = (false, false);
        let (mut id, mut secret, mut session_token, mut region) = (None, None, None, None);
        for line in text.lines() {
            // What is indented belongs to the setting above, none of which is read here.
            if line.starts_with(char::is_whitespace) || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(head) = line.strip_prefix('[') {
                let name = head.split(']').next().unwrap_or_default().trim();
                let name = name.strip_prefix("profile ").map_or(name, str::trim);
                inside = name == profile;
                found |= inside;
                continue;
            }
            let Some((name, value)) = line.split_once('=').filter(|_| inside) else { continue };
            let target = match name.trim() {
                "aws_access_key_id" => &mut id,
                "aws_secret_access_key" => &mut secret,
                "aws_session_token" => &mut session_token,
                "region" => &mut region,
                _ => continue,
            };
            *target = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
        let key = id.zip(secret).map(|(id, secret)| S3Key { id, secret, session_token });
        found.then_some(Self { key, region })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# mine
[default]
aws_access_key_id = AKIA1
aws_secret_access_key=secret/with=signs
; [hidden]
[profile work]
region = eu-central-1
s3 =
  addressing_style = path
aws_access_key_id = AKIA2
[ temporary ]
aws_access_key_id = ASIA3
aws_secret_access_key = s
aws_session_token = t
";

    #[test]
    fn a_profile_is_found_by_its_name_in_both_kinds_of_file() {
        let default = SharedProfile::parse(FILE, "default").unwrap();
        let key = S3Key { id: "AKIA1".into(), secret: "secret/with=signs".into(), session_token: None };
        assert_eq!(default, SharedProfile { key: Some(key), region: None });
        let temporary = SharedProfile::parse(FILE, "temporary").unwrap();
        assert_eq!(temporary.key.unwrap().session_token.as_deref(), Some("t"));
        assert_eq!(SharedProfile::parse(FILE, "hidden"), None);
        assert_eq!(SharedProfile::parse("", "default"), None);
    }

    #[test]
    fn half_a_key_is_none() {
        let work = SharedProfile::parse(FILE, "work").unwrap();
        assert_eq!(work, SharedProfile { key: None, region: Some("eu-central-1".into()) });
    }

    #[test]
    fn a_file_beyond_all_measure_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, &vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        let error = SharedProfile::read(file.path(), "default").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
