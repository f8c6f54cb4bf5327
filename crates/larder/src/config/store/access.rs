//! Whose requests those to a bucket are, where no access key is set: profiles of a shared file, and the roles
//! that platforms give to what runs on them.
//!
//! Nothing here asks the network: a role is known by the variables that its platform sets, a machine of EC2
//! by its firmware.

use std::path::{Path, PathBuf};

use larder_store::SharedProfile;

use crate::config::{ConfigError, Environment};

/// The profile where none is named.
const DEFAULT_PROFILE: &str = "default";

/// Says of Nitro and newer Xen machines who made them (Amazon EC2 User Guide, "Detect whether a host is an EC2
/// instance").
const FIRMWARE_VENDOR: &str = "/sys/class/dmi/id/sys_vendor";

/// A way to an access key that is not set itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Access {
    /// A profile of a shared credentials file, with the region that belongs to it.
    Profile {
        /// The file.
        file: PathBuf,
        /// The profile.
        name: String,
        /// Its region, and the file that names it.
        region: Option<(String, PathBuf)>,
    },
    /// A role that a token of the platform stands for (Kubernetes, CI).
    WebIdentity,
    /// The role of a container (ECS, EKS).
    Container,
    /// The role of a machine (EC2).
    Machine,
}

impl Access {
    /// What it is, for people.
    pub fn label(&self) -> String {
        match self {
            Self::Profile { file, name, .. } => format!("the profile {name} of {}", file.display()),
            Self::WebIdentity => "the web identity of AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(),
            Self::Container => "the role of this container".to_owned(),
            Self::Machine => "the role of this EC2 machine".to_owned(),
        }
    }
}

/// Where to look.
pub struct Sources<'a> {
    /// The variables of the process.
    pub environment: &'a Environment,
    /// The shared file that is named, and by what.
    pub file: Option<(PathBuf, String)>,
    /// The profile that is named, and by what.
    pub profile: Option<(String, String)>,
    /// Whether the file that is usual is looked into, if none is named.
    pub usual_file: bool,
    /// Whether roles of AWS are of use: the server is one of AWS.
    pub roles: bool,
}

impl Sources<'_> {
    /// The first way there is, in the order of the documentation.
    ///
    /// # Errors
    /// A file or profile that is named is not there or holds no key.
    pub fn find(&self) -> Result<Option<Access>, ConfigError> {
        if let Some(profile) = self.shared_profile()? {
            return Ok(Some(profile));
        }
        let set = |name: &str| self.environment.get(name).is_some_and(|value| !value.is_empty());
        Ok(if !self.roles {
            None
        } else if set("AWS_WEB_IDENTITY_TOKEN_FILE") && set("AWS_ROLE_ARN") {
            Some(Access::WebIdentity)
        } else if set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || set("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            Some(Access::Container)
        } else if self.machine_has_roles() {
            Some(Access::Machine)
        } else {
            None
        })
    }

    fn shared_profile(&self) -> Result<Option<Access>, ConfigError> {
        let home = self.environment.get("HOME").filter(|home| self.usual_file && !home.is_empty());
        let usual = || home.map(|home| Path::new(home).join(".aws/credentials"));
        let Some(file) = self.file.as_ref().map(|(file, _)| file.clone()).or_else(usual) else {
            return Ok(None);
        };
        let name = self.profile.as_ref().map_or(DEFAULT_PROFILE, |(name, _)| name);
        // What is named has to be there; what is only usual may be missing or unreadable.
        let named = match (&self.profile, &self.file) {
            (Some((_, by)), _) | (None, Some((_, by))) => Some(by),
            (None, None) => None,
        };
        let found = match SharedProfile::read(&file, name) {
            Ok(found) => found,
            Err(error) => {
                return match named {
                    None => Ok(None),
                    Some(by) => Err(ConfigError::new(
                        format!("{by}: the credentials file {} can't be read: {error}", file.display()),
                        "name another file with AWS_SHARED_CREDENTIALS_FILE or store.s3.credentials_file, or set the access key itself",
                    )),
                };
            }
        };
        let Some(SharedProfile { key: Some(_), region }) = found else {
            return match named {
                None => Ok(None),
                Some(by) => Err(ConfigError::new(
                    format!("{by}: the profile {name} of {} has no access key", file.display()),
                    "add aws_access_key_id and aws_secret_access_key to the profile, name another with AWS_PROFILE or store.s3.credentials_profile, or set the access key itself; profiles that assume a role or sign on (SSO) are not read",
                )),
            };
        };
        let region = region.map(|region| (region, file.clone())).or_else(|| self.configured_region(name));
        Ok(Some(Access::Profile { file, name: name.to_owned(), region }))
    }

    /// The region that `aws configure` wrote beside the key.
    fn configured_region(&self, profile: &str) -> Option<(String, PathBuf)> {
        let named =
            self.environment.get("AWS_CONFIG_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let file = named.or_else(|| Some(Path::new(self.environment.get("HOME")?).join(".aws/config")))?;
        Some((SharedProfile::read(&file, profile).ok()??.region?, file))
    }

    fn machine_has_roles(&self) -> bool {
        let value = |name: &str| self.environment.get(name).map(String::as_str).unwrap_or_default();
        if value("AWS_EC2_METADATA_DISABLED").eq_ignore_ascii_case("true") {
            return false;
        }
        !value("AWS_EC2_METADATA_SERVICE_ENDPOINT").is_empty()
            || is_made_by_amazon(Path::new(FIRMWARE_VENDOR))
    }
}

fn is_made_by_amazon(vendor_file: &Path) -> bool {
    std::fs::read_to_string(vendor_file).is_ok_and(|vendor| vendor.trim() == "Amazon EC2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(environment: &Environment) -> Sources<'_> {
        Sources { environment, file: None, profile: None, usual_file: true, roles: true }
    }

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let disabled = [("AWS_EC2_METADATA_DISABLED", "true")];
        disabled.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        write("credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = b\n[empty]\n");
        write("config", "[default]\nregion = eu-north-1\n");
        home
    }

    #[test]
    fn the_usual_file_is_found_with_the_region_beside_it() {
        let home = home();
        let environment = environment(&[("HOME", home.path().to_str().unwrap())]);
        let Some(Access::Profile { file, name, region }) = sources(&environment).find().unwrap() else {
            panic!("no profile");
        };
        assert_eq!((file, name.as_str()), (home.path().join(".aws/credentials"), "default"));
        assert_eq!(region.unwrap(), ("eu-north-1".to_owned(), home.path().join(".aws/config")));
    }

    #[test]
    fn what_is_named_has_to_be_there() {
        let home = home();
        let environment = environment(&[("HOME", home.path().to_str().unwrap())]);
        for name in ["empty", "other"] {
            let profile = Some((name.to_owned(), "AWS_PROFILE".to_owned()));
            let error = Sources { profile, ..sources(&environment) }.find().unwrap_err();
            assert!(error.cause.starts_with(&format!("AWS_PROFILE: the profile {name} of ")), "{error}");
        }
        let file = Some((home.path().join("none"), "AWS_SHARED_CREDENTIALS_FILE".to_owned()));
        let error = Sources { file, ..sources(&environment) }.find().unwrap_err();
        assert!(error.cause.starts_with("AWS_SHARED_CREDENTIALS_FILE: the credentials file "), "{error}");
        assert!(error.cause.contains("can't be read"), "{error}");
    }

    /// What a platform sets, and what that gives.
    type Platform<'a> = (&'a [(&'a str, &'a str)], Option<Access>);

    #[test]
    fn roles_are_known_by_what_their_platforms_set() {
        let table: [Platform<'_>; 6] = [
            (&[], None),
            (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], None),
            (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn")], Some(Access::WebIdentity)),
            (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")], Some(Access::Container)),
            (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x")], Some(Access::Container)),
            (
                &[
                    ("AWS_EC2_METADATA_DISABLED", "false"),
                    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1"),
                ],
                Some(Access::Machine),
            ),
        ];
        for (pairs, expected) in table {
            let environment = environment(pairs);
            assert_eq!(sources(&environment).find().unwrap(), expected, "{pairs:?}");
            assert_eq!(Sources { roles: false, ..sources(&environment) }.find().unwrap(), None, "{pairs:?}");
        }
    }

    #[test]
    fn a_machine_of_ec2_is_known_by_its_firmware() {
        let dir = tempfile::tempdir().unwrap();
        let vendor = dir.path().join("sys_vendor");
        assert!(!is_made_by_amazon(&vendor));
        std::fs::write(&vendor, "QEMU\n").unwrap();
        assert!(!is_made_by_amazon(&vendor));
        std::fs::write(&vendor, "Amazon EC2\n").unwrap();
        assert!(is_made_by_amazon(&vendor));
    }
}
