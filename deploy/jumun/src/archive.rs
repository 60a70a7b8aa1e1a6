//! The file that `jumun backup` writes: a gzipped tar of a data directory at rest. It begins with a manifest that names
//! every directory and file in it, with sizes and SHA-256 checksums, and nothing is taken from it that the manifest does
//! not name. Any `tar xzf` can read it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

/// The first entry.
const MANIFEST: &str = "jumun-backup.json";
/// Where the data directory is in the archive.
const DATA: &str = "data/";
/// The layout that this jumun writes and reads. A change that an older jumun cannot read makes it greater.
const FORMAT: u32 = 1;
/// A manifest of a million files is smaller.
const LARGEST_MANIFEST: u64 = 256 * 1024 * 1024;
const BUFFER: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the path {} is not Unicode", .path.display())]
    NotUnicode { path: PathBuf },
    #[error("{} is neither a file nor a directory, and nothing else can be in a backup", .path.display())]
    Odd { path: PathBuf },
    #[error("it is no jumun backup")]
    Foreign,
    #[error("it was written by a newer jumun (format {found}, this one knows {FORMAT})")]
    Newer { found: u32 },
    #[error("it is damaged or cut short")]
    Broken(#[source] io::Error),
    #[error("it is damaged: {path} is not what was saved")]
    Changed { path: String },
    #[error("it is damaged or cut short: {path} is not in it")]
    Missing { path: String },
    #[error("it is not as jumun writes it: {path:?} has no business in it")]
    Intruder { path: String },
}

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of the jumun that wrote it.
    pub jumun: String,
    /// The version of the engine that had the directory last, where there was one.
    pub engine: Option<String>,
    /// The format of the data directory.
    pub data_format: u32,
    pub created_at: DateTime<Utc>,
    /// What belongs to the same orders and is kept elsewhere, as far as the configuration says.
    pub elsewhere: Vec<Elsewhere>,
    /// Paths with slashes, relative to the data directory; each after the one that it lies in.
    pub directories: Vec<String>,
    pub files: Vec<Saved>,
}

/// A context whose data is not in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    pub context: workflows::Context,
    /// An address without password.
    pub place: String,
}

/// A file of the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub path: String,
    pub size: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// How many bytes its files have.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// What is said about a backup beside what is in it.
#[derive(Clone, Debug)]
pub struct Origin {
    pub engine: Option<String>,
    pub data_format: u32,
    pub elsewhere: Vec<Elsewhere>,
}

/// Writes everything below `dir` that has to be kept, as the archive at `to`. Nobody else may write in `dir` meanwhile.
pub fn write(dir: &Path, origin: Origin, to: &Path, out: impl Write) -> Result<Manifest, ArchiveError> {
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    walk(dir, "", &mut directories, &mut files)?;
    let files = files.into_iter().map(|path| saved(dir, path)).collect::<Result<_, _>>()?;
    let Origin { engine, data_format, elsewhere } = origin;
    let jumun = env!("CARGO_PKG_VERSION").to_owned();
    let created_at = Utc::now();
    let manifest = Manifest { format: FORMAT, jumun, engine, data_format, created_at, elsewhere, directories, files };

    let unwritten = |source| ArchiveError::Write { path: to.to_owned(), source };
    let mut archive = Builder::new(GzEncoder::new(out, Compression::fast()));
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(|error| unwritten(error.into()))?;
    text.push(b'\n');
    let mut header = header(EntryType::Regular, 0o600, text.len() as u64, created_at);
    archive.append_data(&mut header, MANIFEST, text.as_slice()).map_err(unwritten)?;
    for path in &manifest.directories {
        let mut header = self::header(EntryType::Directory, mode(&dir.join(path))?, 0, created_at);
        archive.append_data(&mut header, format!("{DATA}{path}/"), io::empty()).map_err(unwritten)?;
    }
    for Saved { path, size, .. } in &manifest.files {
        let from = dir.join(path);
        let mut header = self::header(EntryType::Regular, mode(&from)?, *size, created_at);
        let file = File::open(&from).map_err(|source| ArchiveError::Read { path: from, source })?;
        archive.append_data(&mut header, format!("{DATA}{path}"), file.take(*size)).map_err(unwritten)?;
    }
    let mut out = archive.into_inner().and_then(GzEncoder::finish).map_err(unwritten)?;
    out.flush().map_err(unwritten)?;
    Ok(manifest)
}

/// Reads a whole archive and checks all of it. Where `into` names a directory, which has to be empty, everything is laid
/// down there and is on the disk in the end; what was laid down before something was found to be wrong stays there.
pub fn read(archive: impl Read, into: Option<&Path>) -> Result<Manifest, ArchiveError> {
    let mut archive = Archive::new(GzDecoder::new(archive));
    let mut entries = archive.entries().map_err(ArchiveError::Broken)?;
    let first = entries.next().ok_or(ArchiveError::Foreign)?;
    // What is not even compressed, or no tar, was never a backup.
    let first =
        first.map_err(|error| if is_cut(&error) { ArchiveError::Broken(error) } else { ArchiveError::Foreign })?;
    if first.path_bytes().as_ref() != MANIFEST.as_bytes() {
        return Err(ArchiveError::Foreign);
    }
    let manifest = manifest(first)?;

    let mut directories: Vec<&str> = manifest.directories.iter().rev().map(String::as_str).collect();
    let mut files: BTreeMap<&str, &Saved> = manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    for entry in entries {
        let mut entry = entry.map_err(ArchiveError::Broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let intruder = || ArchiveError::Intruder { path: name.clone() };
        let path = name.strip_prefix(DATA).ok_or_else(intruder)?;
        let mode = entry.header().mode().map_err(ArchiveError::Broken)? & 0o777;
        match entry.header().entry_type() {
            EntryType::Directory => {
                let path = path.strip_suffix('/').unwrap_or(path);
                directories.pop().filter(|expected| *expected == path).ok_or_else(intruder)?;
                if let Some(into) = into {
                    make_directory(&into.join(path), mode)?;
                }
            }
            EntryType::Regular => {
                let expected = files.remove(path).ok_or_else(intruder)?;
                let laid = copy(&mut entry, into.map(|into| into.join(path)).as_deref(), mode)?;
                if laid != (expected.size, expected.sha256.clone()) {
                    return Err(ArchiveError::Changed { path: path.to_owned() });
                }
            }
            _ => return Err(intruder()),
        }
    }
    if let Some(path) = directories.last().or(files.keys().next()) {
        return Err(ArchiveError::Missing { path: (*path).to_owned() });
    }
    // The checksum of the whole comes after the last entry.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ArchiveError::Broken)?;
    if let Some(into) = into {
        let laid = manifest.directories.iter().rev().map(|path| into.join(path));
        laid.chain([into.to_owned()]).try_for_each(|dir| sync(&dir))?;
    }
    Ok(manifest)
}

/// Waits until what was done to a directory is on the disk.
pub fn sync(dir: &Path) -> Result<(), ArchiveError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| ArchiveError::Write { path: dir.to_owned(), source })
}

/// What lies in the directory, without what stands for a process or only tells what went on: locks, logs, and files that
/// were not finished.
fn walk(dir: &Path, below: &str, directories: &mut Vec<String>, files: &mut Vec<String>) -> Result<(), ArchiveError> {
    let here = dir.join(below);
    let unreadable = |source| ArchiveError::Read { path: here.clone(), source };
    let mut entries = std::fs::read_dir(&here).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name().into_string().map_err(|_| ArchiveError::NotUnicode { path: path.clone() })?;
        if is_left_out(&name) {
            continue;
        }
        let relative = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() {
            directories.push(relative.clone());
            walk(dir, &relative, directories, files)?;
        } else if kind.is_file() {
            files.push(relative);
        } else {
            return Err(ArchiveError::Odd { path });
        }
    }
    Ok(())
}

fn is_left_out(name: &str) -> bool {
    let ends = |suffix: &str| name.ends_with(suffix);
    let begins = |prefix: &str| name.starts_with(prefix);
    // `LOG` and `LOCK` are the engine's and the store's.
    name == "LOCK" || name == "LOG" || begins("LOG.old") || ends(".lock") || ends(".log.1") || begins(".tmp")
        // The numbered ones are write-ahead logs, and hold what was written last.
        || name == "restate-server.log"
}

fn saved(dir: &Path, path: String) -> Result<Saved, ArchiveError> {
    let from = dir.join(&path);
    let unreadable = |source| ArchiveError::Read { path: from.clone(), source };
    let mut file = File::open(&from).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    let size = io::copy(&mut file, &mut hasher).map_err(unreadable)?;
    Ok(Saved { path, size, sha256: hex(hasher) })
}

fn mode(path: &Path) -> Result<u32, ArchiveError> {
    let metadata = std::fs::metadata(path).map_err(|source| ArchiveError::Read { path: path.to_owned(), source })?;
    Ok(metadata.mode() & 0o777)
}

fn header(kind: EntryType, mode: u32, size: u64, at: DateTime<Utc>) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(at.timestamp().try_into().unwrap_or_default());
    header
}

fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

/// Reads the manifest, and refuses one that names a path outside the directory.
fn manifest(entry: impl Read) -> Result<Manifest, ArchiveError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let mut text = Vec::new();
    entry.take(LARGEST_MANIFEST).read_to_end(&mut text).map_err(ArchiveError::Broken)?;
    let Format { format } = serde_json::from_slice(&text).map_err(|_| ArchiveError::Foreign)?;
    if format > FORMAT {
        return Err(ArchiveError::Newer { found: format });
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| ArchiveError::Foreign)?;
    let paths = manifest.directories.iter().chain(manifest.files.iter().map(|file| &file.path));
    match paths.into_iter().find(|path| !is_inside(path)) {
        Some(path) => Err(ArchiveError::Intruder { path: path.clone() }),
        None => Ok(manifest),
    }
}

/// Whether a path leads to somewhere below the directory that it is relative to, and is written in the one way.
fn is_inside(path: &str) -> bool {
    let parts: Vec<_> = Path::new(path).components().collect();
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    let written: Vec<_> = parts.iter().filter_map(|part| part.as_os_str().to_str()).collect();
    plain && !parts.is_empty() && written.join("/") == path && !path.contains('\0')
}

fn is_cut(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

fn make_directory(path: &Path, mode: u32) -> Result<(), ArchiveError> {
    // Whatever it was, it has to be possible to lay files down in it.
    let created = DirBuilder::new().mode(mode | 0o700).create(path);
    created.map_err(|source| ArchiveError::Write { path: path.to_owned(), source })
}

/// Reads a file to its end, and lays it down where `to` says; its size and checksum.
fn copy(from: &mut impl Read, to: Option<&Path>, mode: u32) -> Result<(u64, String), ArchiveError> {
    let unwritten = |to: &Path, source| ArchiveError::Write { path: to.to_owned(), source };
    let mut file = match to {
        Some(to) => {
            let opened = OpenOptions::new().write(true).create_new(true).mode(mode | 0o600).open(to);
            Some((to, opened.map_err(|source| unwritten(to, source))?))
        }
        None => None,
    };
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ArchiveError::Broken(error)),
        };
        hasher.update(&buffer[..count]);
        size += count as u64;
        if let Some((to, file)) = &mut file {
            file.write_all(&buffer[..count]).map_err(|source| unwritten(to, source))?;
        }
    }
    if let Some((to, file)) = file {
        file.sync_all().map_err(|source| unwritten(to, source))?;
    }
    Ok((size, hex(hasher)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        let payment = Elsewhere { context: workflows::Context::Payment, place: "postgres://db/payments".to_owned() };
        Origin { engine: Some("1.7.12".to_owned()), data_format: 1, elsewhere: vec![payment] }
    }

    /// A directory with files to be kept, and with others.
    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for below in ["engine/db", "store/wal", "store/sstables"] {
            std::fs::create_dir_all(dir.path().join(below)).expect("makes");
        }
        let long = "x".repeat(40_000);
        let files = [
            ("format", "{\"format\":1}\n"),
            ("engine/db/000004.log", long.as_str()),
            ("engine/db/LOG", "talk"),
            ("engine/db/LOG.old.1", "talk"),
            ("engine/db/LOCK", ""),
            ("engine/restate-server.log", "talk"),
            ("engine/restate-server.log.1", "talk"),
            ("store/wal/0.wal", "written last"),
            ("store/LOCK", "1"),
            ("jumun.lock", "1"),
            (".tmpAbC", "half"),
            ("token.key", "secret"),
        ];
        for (path, text) in files {
            std::fs::write(dir.path().join(path), text).expect("writes");
        }
        let secret = std::fs::File::open(dir.path().join("token.key")).expect("opens");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        secret.set_permissions(mode).expect("changes");
        dir
    }

    fn archive() -> (Vec<u8>, Manifest) {
        let mut bytes = Vec::new();
        let manifest = write(directory().path(), origin(), Path::new("a.jumun"), &mut bytes).expect("writes");
        (bytes, manifest)
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was() {
        let (bytes, manifest) = archive();
        let kept: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(kept, ["engine/db/000004.log", "format", "store/wal/0.wal", "token.key"]);
        assert_eq!(manifest.directories, ["engine", "engine/db", "store", "store/sstables", "store/wal"]);
        assert_eq!(read(bytes.as_slice(), None).expect("is sound"), manifest);

        let into = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(read(bytes.as_slice(), Some(into.path())).expect("is sound"), manifest);
        let text = |path: &str| std::fs::read_to_string(into.path().join(path)).expect("is there");
        assert_eq!(text("engine/db/000004.log"), "x".repeat(40_000));
        assert_eq!(text("store/wal/0.wal"), "written last");
        assert_eq!(mode(&into.path().join("token.key")).expect("is there"), 0o600);
        assert!(into.path().join("store/sstables").is_dir(), "an empty directory is one, too");
        assert!(!into.path().join("engine/db/LOG").exists());
    }

    /// The manifest of the one who wrote it vouches for every byte.
    #[test]
    fn wherever_it_is_cut_it_is_refused() {
        let (bytes, _) = archive();
        for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            let error = read(&bytes[..length], None).expect_err("is cut short");
            let expected = matches!(error, ArchiveError::Broken(_) | ArchiveError::Foreign);
            assert!(expected, "{length} of {}: {error:?}", bytes.len());
        }
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let (bytes, manifest) = archive();
        // The first ten bytes are gzip's header, which says nothing about the contents; nor do the bits between its blocks.
        for at in (10..bytes.len()).step_by(5) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let unharmed = read(bytes.as_slice(), None).is_ok_and(|read| read == manifest);
            let noticed = read(bytes.as_slice(), None).is_err();
            assert!(noticed || unharmed, "byte {at} of {}", bytes.len());
        }
    }

    #[test]
    fn what_is_no_backup_is_told_apart() {
        let mut plain = Vec::new();
        let mut tar = Builder::new(GzEncoder::new(&mut plain, Compression::fast()));
        let mut entry = header(EntryType::Regular, 0o600, 2, Utc::now());
        tar.append_data(&mut entry, "README.md", &b"hi"[..]).expect("writes");
        tar.into_inner().and_then(GzEncoder::finish).expect("writes");
        for other in [plain.as_slice(), b"hello, this is a text and nothing else at all", b""] {
            assert!(matches!(read(other, None), Err(ArchiveError::Foreign | ArchiveError::Broken(_))));
        }
    }

    /// An archive as somebody else might make it: with these names in the manifest, and these entries.
    fn forged(names: &[&str], entries: &[(&str, EntryType)]) -> Vec<u8> {
        let mut manifest = archive().1;
        manifest.directories.clear();
        let sha256 = hex(Sha256::new_with_prefix(b"owned"));
        let saved = |path: &&str| Saved { path: (*path).to_owned(), size: 5, sha256: sha256.clone() };
        manifest.files = names.iter().map(saved).collect();
        let text = serde_json::to_vec(&manifest).expect("is JSON");
        let mut bytes = Vec::new();
        let mut tar = Builder::new(GzEncoder::new(&mut bytes, Compression::fast()));
        let mut first = header(EntryType::Regular, 0o600, text.len() as u64, Utc::now());
        tar.append_data(&mut first, MANIFEST, text.as_slice()).expect("writes");
        for (name, kind) in entries {
            let mut entry = header(*kind, 0o777, if *kind == EntryType::Regular { 5 } else { 0 }, Utc::now());
            // By hand, because the library refuses such names.
            let field = &mut entry.as_gnu_mut().expect("is GNU").name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            if *kind == EntryType::Symlink {
                entry.set_link_name("/etc").expect("fits");
            }
            entry.set_cksum();
            let text: &[u8] = if *kind == EntryType::Regular { b"owned" } else { b"" };
            tar.append(&entry, text).expect("writes");
        }
        tar.into_inner().and_then(GzEncoder::finish).expect("writes");
        bytes
    }

    #[test]
    fn nothing_is_laid_down_outside_the_directory() {
        let file = EntryType::Regular;
        let whole = forged(&["a"], &[("data/a", file)]);
        read(whole.as_slice(), None).expect("the forger knows his trade");
        for (names, entries) in [
            (&["../a"][..], &[("data/../a", file)][..]),
            (&["/tmp/a"], &[("data//tmp/a", file)]),
            (&["a/../../b"], &[("data/a/../../b", file)]),
            (&["./a"], &[("data/./a", file)]),
            (&[""], &[("data/", file)]),
            (&["a"], &[("a", file)]),
            (&["a"], &[("data/a", file), ("data/b", file)]),
            (&["a"], &[("data/a", file), ("data/a", file)]),
            (&["a"], &[("data/a", EntryType::Symlink)]),
            (&["a"], &[("data/a", EntryType::Link)]),
            (&["a"], &[("data/etc", EntryType::Symlink), ("data/a", file)]),
            (&["a"], &[("data/dir", EntryType::Directory), ("data/a", file)]),
        ] {
            let above = tempfile::tempdir().expect("a temporary directory");
            let into = above.path().join("into");
            std::fs::create_dir(&into).expect("makes");
            let error = read(forged(names, entries).as_slice(), Some(&into)).expect_err("is forged");
            assert!(matches!(error, ArchiveError::Intruder { .. }), "{names:?} {entries:?}: {error:?}");
            let beside = std::fs::read_dir(above.path()).expect("reads").count();
            assert_eq!(beside, 1, "{names:?} {entries:?}");
        }
        let missing = read(forged(&["a", "b"], &[("data/a", file)]).as_slice(), None);
        assert!(matches!(missing, Err(ArchiveError::Missing { path }) if path == "b"));
    }

    #[test]
    fn a_link_in_the_directory_cannot_be_saved() {
        let dir = directory();
        std::os::unix::fs::symlink("/etc", dir.path().join("store/elsewhere")).expect("links");
        let error = write(dir.path(), origin(), Path::new("a.jumun"), io::sink()).expect_err("is no file").to_string();
        assert!(error.contains("store/elsewhere is neither a file nor a directory"), "{error}");
    }
}
