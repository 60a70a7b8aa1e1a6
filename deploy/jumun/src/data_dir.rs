//! The data directory: one jumun at a time uses it, and only one that knows its format.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use activities::{CardKeys, NotACardKey};
use serde::{Deserialize, Serialize};

use crate::access::write_secret;
use crate::lock::{Holder, Lock, LockError};

/// The layout that this jumun reads and writes. A change that an older jumun must not touch makes it greater.
pub const FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("cannot use {} as the data directory", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error(
        "data directory {} is in use by another jumun ({holder}); stop that one, or choose another directory with \
         --data-dir",
        .path.display()
    )]
    InUse { path: PathBuf, holder: Holder },
    #[error(
        "data directory {} was written by a newer jumun (format {found}, this one knows {FORMAT}); \
         start that one, or choose another directory with --data-dir",
        .path.display()
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("{} does not say which format the data directory has", .path.display())]
    UnknownFormat { path: PathBuf, source: serde_json::Error },
    #[error("{} holds no card key", .path.display())]
    NoCardKey { path: PathBuf, source: NotACardKey },
    #[error("there is no jumun's data in {}", .path.display())]
    Absent { path: PathBuf },
    #[error(
        "the restoring of data directory {} was cut short, or goes on; remove the directory and restore it again",
        .path.display()
    )]
    HalfRestored { path: PathBuf },
    #[error("{} is not empty, and nothing is ever restored over anything", .path.display())]
    NotEmpty { path: PathBuf },
    #[error("the path of the data directory, {}, is not Unicode", .path.display())]
    NotUnicode { path: PathBuf },
}

const LOCK_FILE: &str = "jumun.lock";
const FORMAT_FILE: &str = "format";
/// Where a backup is laid down before it becomes the contents of the directory.
const RESTORING: &str = ".restoring";

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

/// A directory that is this process's alone until dropped. A temporary one is then removed.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Dropped in this order: the lock goes before the directory that it lies in.
    _lock: Lock,
    temporary: Option<tempfile::TempDir>,
}

impl DataDir {
    /// Locks the directory, which is made if there is none.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let path = std::path::absolute(path).map_err(|source| unusable(path, source))?;
        std::fs::create_dir_all(&path).map_err(|source| unusable(&path, source))?;
        let lock = lock(&path)?;
        if path.join(RESTORING).exists() {
            return Err(DataDirError::HalfRestored { path });
        }
        check_format(&path)?;
        Ok(Self { path, _lock: lock, temporary: None })
    }

    /// The same, where jumun has been before.
    pub fn open_existing(path: &Path) -> Result<Self, DataDirError> {
        if !path.join(FORMAT_FILE).exists() && !path.join(RESTORING).exists() {
            return Err(DataDirError::Absent { path: path.to_owned() });
        }
        Self::open(path)
    }

    /// Locks a directory that is absent or empty, and lets `fill` put into another one what then becomes its contents,
    /// all at once: until everything is in place and on the disk, nobody takes it for a data directory. Where `fill`
    /// fails, nothing stays behind.
    pub fn restore<T, E: From<DataDirError>>(path: &Path, fill: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
        let path = std::path::absolute(path).map_err(|source| unusable(path, source))?;
        check_empty(&path)?;
        let made: Vec<PathBuf> = path.ancestors().take_while(|dir| !dir.exists()).map(Path::to_owned).collect();
        std::fs::create_dir_all(&path).map_err(|source| unusable(&path, source))?;
        let lock = lock(&path)?;
        // Somebody else may have been quicker.
        check_empty(&path)?;
        let restoring = path.join(RESTORING);
        let filled = std::fs::create_dir(&restoring)
            .map_err(|source| unusable(&path, source).into())
            .and_then(|()| fill(&restoring));
        let moved = filled.and_then(|filled| {
            move_up(&restoring, &path).map_err(|source| unusable(&path, source))?;
            Ok(filled)
        });
        if moved.is_err() {
            // What cannot be removed keeps the directory from being used.
            let _ = std::fs::remove_dir_all(&restoring);
            let _ = std::fs::remove_file(path.join(LOCK_FILE));
            for dir in made {
                let _ = std::fs::remove_dir(dir);
            }
        }
        drop(lock);
        moved
    }

    /// A fresh directory that is removed in the end.
    pub fn temporary() -> Result<Self, DataDirError> {
        let temporary = tempfile::Builder::new()
            .prefix("jumun-")
            .tempdir()
            .map_err(|source| unusable(&std::env::temp_dir(), source))?;
        let opened = Self::open(temporary.path())?;
        Ok(Self { temporary: Some(temporary), ..opened })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Where the embedded store lies. Every commit is on disk before it is answered.
    pub fn store_url(&self) -> Result<String, DataDirError> {
        let path = self.path.join("store");
        let path = path.to_str().ok_or_else(|| DataDirError::NotUnicode { path: self.path.clone() })?;
        Ok(format!("surrealkv://{path}?sync=every"))
    }

    /// The key with which cards are sealed: made by the first start, for this user's eyes only.
    pub fn card_keys(&self) -> Result<CardKeys, DataDirError> {
        let path = self.path.join("card.key");
        write_secret(&path, &CardKeys::draw()).map_err(|source| unusable(&path, source))?;
        let text = std::fs::read_to_string(&path).map_err(|source| unusable(&path, source))?;
        text.trim_end().parse().map_err(|source| DataDirError::NoCardKey { path, source })
    }

    /// The directory that belongs to the engine.
    pub fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }
}

fn unusable(path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Unusable { path: path.to_owned(), source }
}

fn lock(dir: &Path) -> Result<Lock, DataDirError> {
    Lock::take(&dir.join(LOCK_FILE)).map_err(|error| match error {
        LockError::Held(holder) => DataDirError::InUse { path: dir.to_owned(), holder },
        LockError::Unusable(source) => unusable(dir, source),
    })
}

fn check_empty(dir: &Path) -> Result<(), DataDirError> {
    let mut entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unusable(dir, source)),
    };
    // The lock's file stays for ever; it says nothing of data.
    if entries.any(|entry| entry.map_or(true, |entry| entry.file_name() != LOCK_FILE)) {
        return Err(DataDirError::NotEmpty { path: dir.to_owned() });
    }
    Ok(())
}

/// Moves everything from one directory up into the one that it lies in, and removes the first, which is what makes it
/// count.
fn move_up(from: &Path, to: &Path) -> io::Result<()> {
    let sync = |dir: &Path| std::fs::File::open(dir)?.sync_all();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    sync(to)?;
    std::fs::remove_dir(from)?;
    sync(to)?;
    to.parent().map_or(Ok(()), sync)
}

fn check_format(dir: &Path) -> Result<(), DataDirError> {
    let path = dir.join(FORMAT_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let format: Format =
                serde_json::from_slice(&bytes).map_err(|source| DataDirError::UnknownFormat { path, source })?;
            if format.format > FORMAT {
                return Err(DataDirError::Newer { path: dir.to_owned(), found: format.format });
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_format(dir, &path).map_err(|source| unusable(dir, source))
        }
        Err(source) => Err(unusable(dir, source)),
    }
}

/// In one piece: a jumun that dies here leaves either no format file or a whole one.
fn write_format(dir: &Path, path: &Path) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer(&mut file, &Format { format: FORMAT })?;
    writeln!(file)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn a_second_jumun_is_told_who_holds_the_directory() {
        let dir = temporary();
        let first = DataDir::open(dir.path()).expect("opens");
        let error = DataDir::open(dir.path()).expect_err("is locked");
        let expected =
            format!("data directory {} is in use by another jumun (pid {})", dir.path().display(), std::process::id());
        assert!(error.to_string().starts_with(&expected), "{error}");
        drop(first);
        DataDir::open(dir.path()).expect("opens again once the first has ended");
    }

    #[test]
    fn a_lock_that_is_let_go_at_once_is_waited_for() {
        let dir = temporary();
        let first = DataDir::open(dir.path()).expect("opens");
        let waiting = std::thread::spawn({
            let path = dir.path().to_owned();
            move || DataDir::open(&path).map(drop)
        });
        drop(first);
        waiting.join().expect("no panic").expect("opens");
    }

    #[test]
    fn the_format_is_written_once_and_kept() {
        let dir = temporary();
        drop(DataDir::open(dir.path()).expect("opens"));
        let path = dir.path().join("format");
        assert_eq!(std::fs::read_to_string(&path).expect("is there"), "{\"format\":1}\n");
        drop(DataDir::open(dir.path()).expect("opens again"));
    }

    #[test]
    fn a_newer_format_is_not_touched() {
        let dir = temporary();
        std::fs::write(dir.path().join("format"), r#"{"format": 2, "since": "tomorrow"}"#).expect("writes");
        let error = DataDir::open(dir.path()).expect_err("too new").to_string();
        assert!(error.contains("written by a newer jumun (format 2, this one knows 1)"), "{error}");
    }

    #[test]
    fn a_format_that_is_no_format_is_named() {
        let dir = temporary();
        std::fs::write(dir.path().join("format"), "one").expect("writes");
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::UnknownFormat { .. })));
    }

    #[test]
    fn the_card_key_is_made_once_and_is_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt;
        use workflows::OrderId;
        use workflows::payment::{CardToken, Vault};

        let dir = temporary();
        let (order, token) = (OrderId::from_bits(1), CardToken("tok_ok".to_owned()));
        let sealed = DataDir::open(dir.path()).expect("opens").card_keys().expect("is made").seal(&order, &token);
        let path = dir.path().join("card.key");
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        let again = DataDir::open(dir.path()).expect("opens again").card_keys().expect("is kept");
        assert_eq!(again.open(&order, &sealed), Ok(token));

        std::fs::write(&path, "hunter2\n").expect("writes");
        let error = DataDir::open(dir.path()).expect("opens").card_keys().expect_err("is none");
        assert!(matches!(error, DataDirError::NoCardKey { .. }) && !format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_named() {
        let dir = temporary();
        let path = dir.path().join("file");
        std::fs::write(&path, "").expect("writes");
        let error = DataDir::open(&path).expect_err("is a file");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }

    #[derive(Debug, thiserror::Error)]
    enum Restoring {
        #[error(transparent)]
        DataDir(#[from] DataDirError),
        #[error("no")]
        Refused,
    }

    #[test]
    fn what_is_restored_is_there_all_at_once() {
        let above = temporary();
        let path = above.path().join("a").join("b");
        let fill = |into: &Path| {
            assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse { .. })));
            std::fs::create_dir(into.join("store")).expect("makes");
            std::fs::write(into.join("format"), "{\"format\":1}").expect("writes");
            Ok::<_, Restoring>(7)
        };
        assert_eq!(DataDir::restore(&path, fill).expect("restores"), 7);
        let dir = DataDir::open_existing(&path).expect("opens");
        assert!(dir.path().join("store").is_dir() && !dir.path().join(RESTORING).exists());
        let again = DataDir::restore(&path, |_| Ok::<_, Restoring>(()));
        assert!(matches!(again, Err(Restoring::DataDir(DataDirError::NotEmpty { .. }))));
    }

    #[test]
    fn what_cannot_be_restored_leaves_nothing_behind() {
        let above = temporary();
        let refuse = |into: &Path| {
            std::fs::write(into.join("format"), "half").expect("writes");
            Err::<(), _>(Restoring::Refused)
        };
        let absent = above.path().join("a").join("b");
        assert!(matches!(DataDir::restore(&absent, refuse), Err(Restoring::Refused)));
        assert!(!above.path().join("a").exists());
        let empty = temporary();
        assert!(matches!(DataDir::restore(empty.path(), refuse), Err(Restoring::Refused)));
        assert_eq!(std::fs::read_dir(empty.path()).expect("is there").count(), 0);
    }

    #[test]
    fn a_directory_that_was_half_restored_is_not_used() {
        let dir = temporary();
        std::fs::create_dir(dir.path().join(RESTORING)).expect("makes");
        for opened in [DataDir::open(dir.path()), DataDir::open_existing(dir.path())] {
            assert!(matches!(opened, Err(DataDirError::HalfRestored { .. })));
        }
        let restored = DataDir::restore(dir.path(), |_| Ok::<_, Restoring>(()));
        assert!(matches!(restored, Err(Restoring::DataDir(DataDirError::NotEmpty { .. }))));
        assert!(!dir.path().join("format").exists());
    }

    #[test]
    fn where_jumun_has_never_been_there_is_no_data() {
        let dir = temporary();
        assert!(matches!(DataDir::open_existing(dir.path()), Err(DataDirError::Absent { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).expect("is there").count(), 0);
    }

    #[test]
    fn a_temporary_directory_is_removed() {
        let dir = DataDir::temporary().expect("opens");
        let path = dir.path().to_owned();
        assert!(path.join("format").exists());
        drop(dir);
        assert!(!path.exists());
    }
}
