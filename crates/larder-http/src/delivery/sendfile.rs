//! Letting the web server in front send a file's bytes itself.

use std::path::Path;

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// nginx decodes the path; everything but the unreserved characters and the slash is escaped.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Which header names the file. Larder answers head and permission, the server in front the bytes,
/// ranges included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sendfile {
    /// nginx: `X-Accel-Redirect` with a path below an internal location.
    Accel {
        /// The internal location, such as `/internal-media`, whose `alias` is the root of the store.
        prefix: String,
        /// The folder that the location stands for.
        root: std::path::PathBuf,
    },
    /// Apache (mod_xsendfile) and lighttpd: `X-Sendfile` with the file's path.
    XSendfile,
}

impl Sendfile {
    /// The header for a file; `None` for one that the server in front could not reach.
    pub(super) fn header(&self, file: &Path) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::Accel { prefix, root } => {
                let below = file.strip_prefix(root).ok()?.to_str()?;
                let path = format!("{}/{}", prefix.trim_end_matches('/'), utf8_percent_encode(below, KEPT));
                (HeaderName::from_static("x-accel-redirect"), path)
            }
            Self::XSendfile => (HeaderName::from_static("x-sendfile"), file.to_str()?.to_owned()),
        };
        HeaderValue::try_from(value).ok().map(|value| (name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_gets_an_escaped_path_below_its_location() {
        let accel = Sendfile::Accel { prefix: "/internal/".to_owned(), root: "/srv/media".into() };
        let (name, value) = accel.header(Path::new("/srv/media/keeps/a b%ü.jpg")).unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("x-accel-redirect", "/internal/keeps/a%20b%25%C3%BC.jpg")
        );
        assert_eq!(accel.header(Path::new("/etc/passwd")), None);
    }

    #[test]
    fn apache_gets_the_file() {
        let (name, value) = Sendfile::XSendfile.header(Path::new("/srv/a.jpg")).unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-sendfile", "/srv/a.jpg"));
        assert_eq!(Sendfile::XSendfile.header(Path::new("/srv/a\nb")), None);
    }
}
