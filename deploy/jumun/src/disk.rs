//! The disk below a directory: whether there is room and it can be written. jumun stops, in order, while there is still
//! room for that. What runs into a full disk writes half of things: the engine's log no longer says why the engine died,
//! and a store can be used no more (see `activities::StoreFailure`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};

/// What has to stay free, in bytes: enough to write out what the store and the engine hold in memory.
pub const TO_GO_ON: u64 = 128 * MIB;
/// What has to be free before the engine starts, which first sets some 300 MiB aside for its logs.
pub const TO_START: u64 = 512 * MIB;
const MIB: u64 = 1024 * 1024;
const POLL: Duration = Duration::from_millis(500);

/// Why nothing can be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    #[error(
        "no space left for {}: {} MiB of its disk are free, and {} MiB have to be; make room and start again: nothing \
         that was answered is lost, and every order goes on",
        .dir.display(), .free / MIB, .needed / MIB
    )]
    Full { dir: PathBuf, free: u64, needed: u64 },
    #[error(
        "{} is on a disk that is read-only; make it writable and start again: nothing that was answered is lost, and \
         every order goes on",
        .dir.display()
    )]
    ReadOnly { dir: PathBuf },
    #[error(
        "the store in {} could not be written ({why}); mend that and start again: nothing that was answered is lost, and \
         every order goes on",
        .dir.display()
    )]
    Failed { dir: PathBuf, why: String },
}

/// Whether the directory, or the closest one above it that exists, is on a disk that can be written, with `needed` bytes
/// free.
pub fn check(dir: &Path, needed: u64) -> Result<(), Unwritable> {
    let Some(found) = dir.ancestors().find_map(|dir| statvfs(dir).ok()) else {
        // Whoever uses the directory will say what is wrong with it.
        return Ok(());
    };
    let dir = dir.to_owned();
    if found.flags().contains(FsFlags::ST_RDONLY) {
        return Err(Unwritable::ReadOnly { dir });
    }
    let free = bytes(found.blocks_available(), found.fragment_size());
    if free < needed { Err(Unwritable::Full { dir, free, needed }) } else { Ok(()) }
}

/// The types of the numbers differ between systems.
fn bytes(blocks: impl Into<u64>, size: impl Into<u64>) -> u64 {
    blocks.into().saturating_mul(size.into())
}

/// Returns when one of the directories can be written no more, or `failure` tells that the store in the first could not
/// be.
pub async fn unwritable(dirs: &[PathBuf], failure: &activities::StoreFailure) -> Unwritable {
    let watched = async {
        let mut ticks = tokio::time::interval(POLL);
        loop {
            ticks.tick().await;
            if let Some(unwritable) = dirs.iter().find_map(|dir| check(dir, TO_GO_ON).err()) {
                return unwritable;
            }
        }
    };
    tokio::select! {
        unwritable = watched => unwritable,
        why = failure.wait() => {
            // Why it failed is most often plain to see.
            let seen = dirs.iter().find_map(|dir| check(dir, TO_GO_ON).err());
            let dir = dirs.first().cloned().unwrap_or_default();
            seen.unwrap_or(Unwritable::Failed { dir, why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_room_nothing_is_wrong() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(check(dir.path(), 1), Ok(()));
        assert_eq!(check(&dir.path().join("not/yet/there"), 1), Ok(()));
    }

    /// The kernel's own file system can be written by nobody, and has room for nothing.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_without_room_is_named() {
        let dir = PathBuf::from("/proc/self");
        let unwritable = check(&dir, TO_START).expect_err("has no room");
        assert_eq!(unwritable, Unwritable::Full { dir, free: 0, needed: TO_START });
        assert!(
            unwritable.to_string().starts_with("no space left for /proc/self: 0 MiB of its disk are free, and 512 MiB"),
            "{unwritable}"
        );
    }
}
