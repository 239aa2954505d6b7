//! What happens before the loop: the file, its secrets, our own powers.

use std::io::Read;
use std::path::{Path, PathBuf};

use config::{Plan, ThisHost};
use kernel::privilege;
use zeroize::Zeroizing;

/// The longest configuration file, octets.
const MAX_FILE: u64 = 16 << 20;

/// Reads the configuration file with everything it names; the error is ready to print.
pub(crate) fn load(path: &Path) -> Result<Plan, String> {
    // A secret may be written in the file itself.
    let text = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let host = ThisHost::new(path, credentials);
    config::load(&path.display().to_string(), &text, &host).map_err(|errors| errors.to_string())
}

fn read(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let file = std::fs::File::open(path)?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(file.metadata()?.len().min(MAX_FILE)).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    let length = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_FILE) {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "longer than 16 MB"));
    }
    Ok(text)
}

/// No core files with keys in them: before there is any.
pub(crate) fn keep_out_of_cores() {
    if let Err(error) = privilege::no_core_dumps() {
        // Before there is a log.
        eprintln!("causeway: core dumps cannot be switched off: {error}");
    }
}

/// As many descriptors as this process may have at all: each tunnel takes two.
pub(crate) fn take_descriptors() {
    match privilege::raise_descriptors() {
        Ok(count) => tracing::info!(count, "descriptors that may be open at a time"),
        Err(error) => {
            let count = privilege::descriptors();
            tracing::warn!(count, %error, "the limit of open descriptors could not be raised");
        }
    }
}

/// No more power than the work needs; before any thread is started, which would keep it.
pub(crate) fn confine() {
    if let Err(error) = privilege::keep_only(&privilege::Capability::DAEMON) {
        tracing::warn!(%error, "capabilities cannot be given up");
    }
}

/// 32 octets of the kernel's randomness.
pub(crate) fn seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}
