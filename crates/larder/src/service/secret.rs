//! The master secret: given, or generated once in the data directory.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use larder_assets::Secrets;
use larder_core::Ambient;

use crate::{config::Config, failure::Failure};

/// The file in the data directory.
const FILE: &str = "secret";

/// The master secret of the configuration, else that of the data directory, generated on first use.
///
/// # Errors
/// The file can't be read, written, or is open to others.
pub fn load(config: &Config, ambient: &Ambient) -> Result<Secrets, Failure> {
    let text = match &config.secret {
        Some(secret) => secret.expose().to_owned(),
        None => of_file(&config.data_dir.join(FILE), ambient)?,
    };
    Secrets::new(text.into_bytes()).map_err(|problem| {
        Failure::configuration(
            problem,
            "set LARDER_SECRET to a random text, such as the output of `openssl rand -hex 32`",
        )
    })
}

fn of_file(path: &Path, ambient: &Ambient) -> Result<String, Failure> {
    match read(path)? {
        Some(secret) => Ok(secret),
        None => {
            generate(path, ambient).map_err(|error| Failure::file(path, "written", error))?;
            // Another process may have been faster; what lies there counts.
            read(path)?.ok_or_else(|| Failure::file(path, "read", io::Error::from(io::ErrorKind::NotFound)))
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file(path, "read", error)),
    };
    let mode =
        std::fs::metadata(path).map_err(|error| Failure::file(path, "read", error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::configuration(
            format!("{} can be read by others (mode {:o})", path.display(), mode & 0o777),
            format!("chmod 600 {}", path.display()),
        ));
    }
    Ok(Some(text.trim().to_owned()))
}

/// Writes a new secret, whole or not at all, and never over an existing one.
fn generate(path: &Path, ambient: &Ambient) -> io::Result<()> {
    let temporary = path.with_extension(hex::encode(ambient.random_bytes::<8>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(hex::encode(ambient.random_bytes::<32>()).as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_is_private_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let ambient = Ambient::system();
        let secret = of_file(&path, &ambient).unwrap();
        assert_eq!(secret.len(), 64);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(of_file(&path, &ambient).unwrap(), secret);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, "0123456789abcdef").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let failure = of_file(&path, &Ambient::system()).unwrap_err();
        assert!(failure.remedy.starts_with("chmod 600"));
    }

    #[test]
    fn many_that_start_at_once_agree_on_one_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| of_file(&path, &Ambient::system()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }
}
