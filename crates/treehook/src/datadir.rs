//! The data directory: made private, held by one process at a time, with the deployment's random key.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use treehook_event::{Failure, VisitorKey};

/// Held as long as the process uses the directory's queue.
#[derive(Debug)]
pub(crate) struct Held(
    #[expect(dead_code, reason = "the lock lives as long as its file is open")] File,
);

/// Makes the directory if need be, for its owner alone.
pub(crate) fn create(dir: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        let place = dir.display();
        Failure::fatal(
            "data_dir",
            format!("{place} cannot be made: {error}; set TREEHOOK_DATA_DIR to a place that can"),
        )
    })
}

/// Makes sure that no other process drains the same queue: both would work, each at half the use.
pub(crate) fn hold(dir: &Path) -> Result<Held, Failure> {
    create(dir)?;
    let path = dir.join("treehook.lock");
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::fatal("data_dir", format!("{} cannot be used: {error}", path.display()))
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| cannot(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(Held(file)),
        Err(TryLockError::WouldBlock) => Err(Failure::fatal(
            "data_dir",
            format!(
                "{} is in use by another treehook; stop it, or set TREEHOOK_DATA_DIR to another \
                 directory",
                dir.display()
            ),
        )),
        Err(TryLockError::Error(error)) => Err(cannot(&error)),
    }
}

/// Whether a process works on the directory's queue.
pub(crate) fn is_held(dir: &Path) -> bool {
    File::open(dir.join("treehook.lock"))
        .is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// The configured visitor key, else the directory's own, made at the first start.
pub(crate) fn visitor_key(
    dir: &Path,
    configured: Option<&SecretString>,
) -> Result<VisitorKey, Failure> {
    let text = match configured {
        Some(key) => key.expose_secret().as_bytes().to_vec(),
        None => own_key(dir)?,
    };
    VisitorKey::new(&text).ok_or_else(|| {
        let path = dir.join("visitor.key");
        Failure::fatal("visitor_key", format!("{} is too short to be a key", path.display()))
    })
}

fn own_key(dir: &Path) -> Result<Vec<u8>, Failure> {
    let path = dir.join("visitor.key");
    let cannot = |error: std::io::Error| {
        Failure::fatal("visitor_key", format!("{} cannot be used: {error}", path.display()))
    };
    match std::fs::read(&path) {
        Ok(key) => return Ok(key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
        Err(error) => return Err(cannot(error)),
    }
    let key = uuid_pair();
    // Written whole under another name first: a crash must not leave half a key behind.
    let draft = dir.join(format!("visitor.key.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&draft)
        .map_err(cannot)?;
    file.write_all(key.as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
    // `hard_link` refuses to replace: whoever was first has made the key for everybody.
    match std::fs::hard_link(&draft, &path) {
        Ok(()) => (),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
        Err(error) => return Err(cannot(error)),
    }
    std::fs::remove_file(&draft).map_err(cannot)?;
    std::fs::read(&path).map_err(cannot)
}

/// 32 hexadecimal digits twice: 244 random bits from the operating system.
fn uuid_pair() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}
