//! What a configuration needs of the host besides its own text: secrets, and the names of routing tables.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crypto::Secret;
use zeroize::Zeroizing;

/// Where secrets and table names come from; tests bring their own.
pub trait Host {
    /// A secret from a file named in the configuration.
    ///
    /// # Errors
    /// When there is none, or it is not kept secret.
    fn file(&self, path: &str) -> Result<Secret, SecretError>;

    /// A secret the service manager handed over (`LoadCredential=` of systemd).
    ///
    /// # Errors
    /// When there is none.
    fn credential(&self, name: &str) -> Result<Secret, SecretError>;

    /// The number of a routing table by its name.
    fn table(&self, name: &str) -> Option<u32>;
}

/// Why a secret cannot be had. Never carries any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Reading failed.
    #[error("cannot read the secret from {path}: {why}")]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// Others than its owner may read it.
    #[error("{path} can be read by others than its owner (mode {mode:04o}); make it private: chmod 600 {path}", path = .path.display())]
    Exposed {
        /// Where.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not an ordinary file.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(PathBuf),
    /// More than any peer takes.
    #[error("{0} is longer than {MAX_SECRET} bytes")]
    TooLong(PathBuf),
    /// A credential is asked for, and the service manager gave none at all.
    #[error(
        "there are no credentials here: $CREDENTIALS_DIRECTORY is not set (systemd's LoadCredential= sets it)"
    )]
    NoCredentials,
    /// A credential's name is a path.
    #[error("'{0}' is no credential name (letters, digits, '.', '_' and '-')")]
    CredentialName(String),
}

/// The longest secret, in octets.
pub const MAX_SECRET: u64 = 4096;

/// This machine's files.
#[derive(Clone, Debug)]
pub struct ThisHost {
    base: PathBuf,
    credentials: Option<PathBuf>,
}

impl ThisHost {
    /// `file` is the configuration file: secret files are named relative to its folder. `credentials` is
    /// `$CREDENTIALS_DIRECTORY`.
    #[must_use]
    pub fn new(file: &Path, credentials: Option<PathBuf>) -> Self {
        Self { base: file.parent().unwrap_or(Path::new("")).to_owned(), credentials }
    }
}

impl Host for ThisHost {
    fn file(&self, path: &str) -> Result<Secret, SecretError> {
        read_secret(&self.base.join(path), true)
    }

    /// Credentials are not asked for their mode: their folder keeps others out, and systemd gives the files 0440.
    fn credential(&self, name: &str) -> Result<Secret, SecretError> {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(sound) {
            return Err(SecretError::CredentialName(name.to_owned()));
        }
        let folder = self.credentials.as_ref().ok_or(SecretError::NoCredentials)?;
        read_secret(&folder.join(name), false)
    }

    fn table(&self, name: &str) -> Option<u32> {
        ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables", "/usr/lib/iproute2/rt_tables"]
            .into_iter()
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .find_map(|text| table_number(&text, name))
    }
}

fn read_secret(path: &Path, private: bool) -> Result<Secret, SecretError> {
    let unreadable = |error: std::io::Error| SecretError::Unreadable {
        path: path.to_owned(),
        why: error.kind().to_string(),
    };
    // The open file is asked for its mode, so nothing can be put in its place in between.
    let mut file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(SecretError::NotAFile(path.to_owned()));
    }
    let mode = about.permissions().mode() & 0o7777;
    if private && mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_SECRET + 2).unwrap_or(0)));
    file.by_ref().take(MAX_SECRET + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    trim(&bytes, path)
}

/// One trailing newline is the editor's, not the secret's.
fn trim(bytes: &[u8], path: &Path) -> Result<Secret, SecretError> {
    if bytes.len() as u64 > MAX_SECRET {
        return Err(SecretError::TooLong(path.to_owned()));
    }
    let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    if bytes.is_empty() {
        return Err(SecretError::Empty(path.to_owned()));
    }
    Ok(Secret::new(bytes))
}

fn table_number(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let number = words.next()?;
        let number = match number.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        (words.next()? == name).then_some(number.ok()?)
    })
}

impl fmt::Display for ThisHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is gone when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("causeway-config-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn put(&self, name: &str, text: &[u8], mode: u32) {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }

        fn host(&self) -> ThisHost {
            ThisHost::new(&self.0.join("causeway.toml"), Some(self.0.clone()))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn one_trailing_newline_is_dropped_and_no_more() {
        let folder = Folder::new("newline");
        for (text, secret) in [
            (&b"abc\n"[..], &b"abc"[..]),
            (b"abc", b"abc"),
            (b"abc\n\n", b"abc\n"),
            (b"abc\r\n", b"abc"),
            (b" a b ", b" a b "),
        ] {
            folder.put("psk", text, 0o600);
            assert_eq!(folder.host().file("psk").unwrap().as_bytes(), secret);
        }
    }

    #[test]
    fn a_file_others_may_read_is_refused_and_the_error_says_what_to_do() {
        let folder = Folder::new("exposed");
        for mode in [0o640, 0o604, 0o644, 0o620] {
            folder.put("psk", b"abc", mode);
            let error = folder.host().file("psk").unwrap_err();
            assert!(matches!(error, SecretError::Exposed { .. }), "{mode:o}");
            assert!(error.to_string().contains("chmod 600"));
        }
        folder.put("psk", b"abc", 0o440);
        assert!(folder.host().credential("psk").is_ok(), "a credential's folder keeps others out");
    }

    #[test]
    fn empty_oversized_missing_and_odd_files_are_refused() {
        let folder = Folder::new("odd");
        folder.put("empty", b"\n", 0o600);
        folder.put("long", &[b'x'; 5000], 0o600);
        let host = folder.host();
        assert!(matches!(host.file("empty"), Err(SecretError::Empty(_))));
        assert!(matches!(host.file("long"), Err(SecretError::TooLong(_))));
        assert!(matches!(host.file("none"), Err(SecretError::Unreadable { .. })));
        assert!(matches!(host.file("."), Err(SecretError::NotAFile(_))));
        for name in ["../psk", "a/b", "", ".."] {
            assert!(matches!(host.credential(name), Err(SecretError::CredentialName(_))), "{name}");
        }
        let bare = ThisHost::new(Path::new("causeway.toml"), None);
        assert_eq!(bare.credential("psk").unwrap_err(), SecretError::NoCredentials);
    }

    #[test]
    fn table_names_are_read_as_iproute2_reads_them() {
        let text = "#\n# reserved\n255\tlocal\n254 main # the usual\n0x64 cloud\nnonsense\n";
        assert_eq!(table_number(text, "main"), Some(254));
        assert_eq!(table_number(text, "cloud"), Some(100));
        assert_eq!(table_number(text, "nope"), None);
    }
}
