//! A small disk of a receiver's own, that can be filled to its last byte.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for an outbox that runs full by its own limit first, with its write-ahead log and what it leaves free.
const SIZE: &str = "size=64m,mode=0700";

/// Mounted until it is dropped.
pub(crate) struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// `None` where nobody lets us mount.
    pub(crate) fn mount(dir: &Path) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "treehook-chaos"]).arg(dir);
        let output = mount.output().ok()?;
        output.status.success().then(|| Self { dir: dir.to_owned() })
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for piece in [&[0; 4096][..], &[0; 1]] {
            while file.write_all(piece).is_ok() {}
        }
    }

    /// Gives it back.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process of a storm that failed may still have files open.
        drop(Command::new("umount").arg("-l").arg(&self.dir).status());
    }
}
