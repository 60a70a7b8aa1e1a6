//! The data directory: one jumun at a time uses it, and only one that knows its format.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The layout that this jumun reads and writes. A change that an older jumun must not touch makes it greater.
const FORMAT: u32 = 1;
/// A jumun that was killed a moment ago may still be on its way out.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("cannot use {} as the data directory", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error(
        "data directory {} is in use by another jumun (pid {}); stop that one, or choose another directory with \
         --data-dir",
        .path.display(), Pid(*.pid)
    )]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error(
        "data directory {} was written by a newer jumun (format {found}, this one knows {FORMAT}); \
         start that one, or choose another directory with --data-dir",
        .path.display()
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("{} does not say which format the data directory has", .path.display())]
    UnknownFormat { path: PathBuf, source: serde_json::Error },
    #[error("the path of the data directory, {}, is not Unicode", .path.display())]
    NotUnicode { path: PathBuf },
}

struct Pid(Option<u32>);

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => pid.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

/// A directory that is this process's alone until dropped. A temporary one is then removed.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Dropped in this order: the lock goes before the directory that it lies in.
    _lock: File,
    temporary: Option<tempfile::TempDir>,
}

impl DataDir {
    /// Locks the directory, which is made if there is none.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let path = std::path::absolute(path).map_err(|source| unusable(path, source))?;
        std::fs::create_dir_all(&path).map_err(|source| unusable(&path, source))?;
        let lock = lock(&path)?;
        check_format(&path)?;
        Ok(Self { path, _lock: lock, temporary: None })
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

    /// The directory that belongs to the engine.
    pub fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }
}

fn unusable(path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Unusable { path: path.to_owned(), source }
}

/// The lock goes with the process, however that ends; the pid in the file is only there to be shown.
fn lock(dir: &Path) -> Result<File, DataDirError> {
    let deadline = Instant::now() + PATIENCE;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("jumun.lock"))
        .map_err(|source| unusable(dir, source))?;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse { path: dir.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(dir, source)),
        }
    }
    write_pid(&mut file).map_err(|source| unusable(dir, source))?;
    Ok(file)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn check_format(dir: &Path) -> Result<(), DataDirError> {
    let path = dir.join("format");
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
    fn a_path_that_cannot_be_a_directory_is_named() {
        let dir = temporary();
        let path = dir.path().join("file");
        std::fs::write(&path, "").expect("writes");
        let error = DataDir::open(&path).expect_err("is a file");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
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
