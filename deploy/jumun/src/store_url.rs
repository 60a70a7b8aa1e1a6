//! The address of a store: what it may look like, that it is never shown with its password, and that one process at a
//! time uses a store on this machine's disk.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::lock::{Holder, Lock, LockError};

const EMBEDDED: &str = "surrealkv";
const POSTGRES: [&str; 2] = ["postgres", "postgresql"];
const OTHERS: [&str; 5] = ["mem", "ws", "wss", "http", "https"];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected surrealkv://PATH, mem://, postgres://… (payment only), or the URL of a SurrealDB server")]
pub struct NotAStoreUrl;

#[derive(Debug, thiserror::Error)]
pub enum StoreUrlError {
    #[error("the store {} is in use by another process ({holder}); stop that one, or choose another store", .path.display())]
    InUse { path: PathBuf, holder: Holder },
    #[error("cannot use {} as the store", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("the path of the store, {}, is not Unicode", .path.display())]
    NotUnicode { path: PathBuf },
}

/// A well-formed address of a store.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// The store at a path of this machine's disk, which may be relative to the working directory.
    pub fn on_disk(path: &str) -> Self {
        Self(format!("{EMBEDDED}://{path}"))
    }

    pub fn is_postgres(&self) -> bool {
        POSTGRES.contains(&self.parts().0)
    }

    /// Whether it lies on this machine's disk, in this process.
    pub fn is_on_disk(&self) -> bool {
        self.parts().0 == EMBEDDED
    }

    /// Whether it is a SurrealDB server to which a connection is kept.
    pub fn is_server(&self) -> bool {
        matches!(self.parts().0, "ws" | "wss")
    }

    /// The whole address.
    pub fn address(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once("://").expect("it was read with a scheme")
    }

    /// Makes the store this process's alone, where it lies on this machine's disk: its path is made absolute, the
    /// directories above it are made, and the file `PATH.lock` beside it is locked.
    pub fn occupy(&self) -> Result<OccupiedStore, StoreUrlError> {
        if !self.is_on_disk() {
            return Ok(OccupiedStore { url: Self(self.0.clone()), path: None, _lock: None });
        }
        let (_, rest) = self.parts();
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreUrlError::Unusable { path, source }
        };
        let path = std::path::absolute(path).map_err(unusable(Path::new(path)))?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(unusable(parent))?;
        }
        let lock = Lock::take(&path.with_added_extension("lock")).map_err(|error| match error {
            LockError::Held(holder) => StoreUrlError::InUse { path: path.clone(), holder },
            LockError::Unusable(source) => unusable(&path)(source),
        })?;
        let text = path.to_str().ok_or_else(|| StoreUrlError::NotUnicode { path: path.clone() })?;
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Ok(OccupiedStore { url: Self(format!("{EMBEDDED}://{text}{query}")), path: Some(path), _lock: Some(lock) })
    }
}

impl FromStr for StoreUrl {
    type Err = NotAStoreUrl;

    fn from_str(text: &str) -> Result<Self, NotAStoreUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(NotAStoreUrl)?;
        let known = scheme == EMBEDDED || POSTGRES.contains(&scheme) || OTHERS.contains(&scheme);
        let somewhere = scheme == "mem" || !rest.is_empty() && !rest.starts_with('?');
        if known && somewhere { Ok(Self(text.to_owned())) } else { Err(NotAStoreUrl) }
    }
}

/// For people: without user, password and options.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.parts();
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        let place = if self.is_on_disk() { rest } else { rest.rsplit_once('@').map_or(rest, |(_, place)| place) };
        write!(f, "{scheme}://{place}")
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

/// A store that is this process's alone until dropped, if it is on this machine's disk.
#[derive(Debug)]
pub struct OccupiedStore {
    url: StoreUrl,
    path: Option<PathBuf>,
    _lock: Option<Lock>,
}

impl OccupiedStore {
    /// The whole address, with all that it takes to open the store.
    pub fn address(&self) -> &str {
        &self.url.0
    }

    /// Where it lies on this machine's disk, if it does.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The address for people.
    pub fn url(&self) -> &StoreUrl {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StoreUrl {
        text.parse().expect("the URL of a store")
    }

    #[test]
    fn only_stores_have_an_address() {
        for right in ["surrealkv://a/b", "mem://", "postgres://u:p@h/db", "postgresql://h", "wss://db:8000"] {
            assert!(right.parse::<StoreUrl>().is_ok(), "{right}");
        }
        for wrong in ["", "a/b", "surrealkv:a", "surrealkv://", "surrealkv://?sync=every", "mysql://h", "postgres://"] {
            assert_eq!(wrong.parse::<StoreUrl>(), Err(NotAStoreUrl), "{wrong}");
        }
        assert!(url("postgresql://h/db").is_postgres() && !url("mem://").is_postgres());
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = url("postgres://jumun:s3cr@t@db.example:5432/pay?password=s3cr3t");
        assert_eq!(url.to_string(), "postgres://db.example:5432/pay");
        assert_eq!(format!("{url:?}"), "StoreUrl(postgres://db.example:5432/pay)");
    }

    #[test]
    fn a_store_on_disk_is_one_process_s_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("providers").join("payment");
        let store = url(&format!("surrealkv://{}?versioned=true", path.display()));
        let first = store.occupy().expect("is free");
        assert_eq!(first.address(), format!("surrealkv://{}?versioned=true", path.display()));
        assert!(path.parent().expect("has one").is_dir() && !path.exists(), "the store itself makes its directory");
        let error = store.occupy().expect_err("is taken").to_string();
        let expected = format!("{} is in use by another process (pid {})", path.display(), std::process::id());
        assert!(error.contains(&expected), "{error}");
        drop(first);
        store.occupy().expect("is free again");
    }

    #[test]
    fn a_relative_path_is_made_absolute() {
        let dir = tempfile::tempdir_in(".").expect("a temporary directory");
        let name = dir.path().file_name().and_then(|name| name.to_str()).expect("has a name");
        let here = std::env::current_dir().expect("is somewhere");
        let occupied = StoreUrl::on_disk(&format!("{name}/stock")).occupy().expect("is free");
        assert_eq!(occupied.address(), format!("surrealkv://{}/{name}/stock", here.display()));
    }

    #[test]
    fn a_store_elsewhere_is_left_as_it_is() {
        let occupied = url("postgres://u:p@h/db").occupy().expect("nothing to lock");
        assert_eq!(occupied.address(), "postgres://u:p@h/db");
    }
}
