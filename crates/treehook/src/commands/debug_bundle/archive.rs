//! The `.tar.gz` itself: small files in one folder, readable by its owner alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

/// An archive that is being written.
pub(super) struct Archive {
    tar: Builder<GzEncoder<File>>,
    folder: String,
    modified_seconds: u64,
}

impl Archive {
    /// Makes the file. One that is there already is kept.
    pub(super) fn create(path: &Path, folder: &str, modified_seconds: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        let tar = Builder::new(GzEncoder::new(file, Compression::default()));
        Ok(Self { tar, folder: folder.to_owned(), modified_seconds })
    }

    /// One more file.
    pub(super) fn add(&mut self, name: &str, content: &str) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.modified_seconds);
        self.tar.append_data(&mut header, format!("{}/{name}", self.folder), content.as_bytes())
    }

    /// Nothing is safe before this.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut file = self.tar.into_inner()?.finish()?;
        file.flush()?;
        file.sync_all()
    }
}
