//! Finds restate-server: the one that was named, the one on `PATH`, the one in the cache; else npm puts one there, once.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use semver::{Version, VersionReq};
use tokio::process::Command;

use crate::report;

/// The version that is fetched.
const VERSION: &str = "1.7.12";
/// The versions that jumun is known to work with.
const COMPATIBLE: &str = "~1.7";
const PROGRAM: &str = "restate-server";
const PACKAGE: &str = "@restatedev/restate-server";
const VERSION_WITHIN: Duration = Duration::from_secs(10);
const INSTALL_WITHIN: Duration = Duration::from_mins(5);

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot use {}, which --restate-server (or RESTATE_SERVER) names: {unfit}", .path.display())]
    Named { path: PathBuf, unfit: Unfit },
    #[error("restate-server does not exist for this system ({os}, {arch}); {CHOICES_WITHOUT_NPM}")]
    NoSuchSystem { os: &'static str, arch: &'static str },
    #[error("restate-server is not on this machine, and npm, which would fetch it, is not either; {CHOICES}")]
    NoNpm,
    #[error("cannot run npm to fetch restate-server; {CHOICES}")]
    NpmNotRun { source: io::Error },
    #[error("npm did not fetch restate-server ({status}); {CHOICES}; npm said:{}", Indented(.said))]
    Npm { status: ExitStatus, said: Vec<String> },
    #[error("npm did not fetch restate-server within {} s; {CHOICES}", INSTALL_WITHIN.as_secs())]
    TooSlow,
    #[error("npm fetched its package, but not {missing}; {CHOICES}")]
    Incomplete { missing: String },
    #[error("{} is there, but has no restate-server in it; remove it and start again", .dir.display())]
    Spoiled { dir: PathBuf },
    #[error("cannot keep restate-server in {}", .path.display())]
    Cache { path: PathBuf, source: io::Error },
}

const CHOICES: &str = "install Node.js, which brings npm, and start again; or put restate-server 1.7.12 on PATH; \
                       or name one with --restate-server PATH (or RESTATE_SERVER)";
const CHOICES_WITHOUT_NPM: &str = "put one on PATH, or name one with --restate-server PATH (or RESTATE_SERVER)";

/// Why a program is not used as the engine.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("{0}")]
    Unreadable(io::Error),
    #[error("it is a script, and what it starts would outlive jumun; name the program itself")]
    Script,
    #[error("it does not say its version")]
    Silent,
    #[error("it is {0}, and jumun needs 1.7")]
    OtherVersion(Version),
}

struct Indented<'a>(&'a [String]);

impl std::fmt::Display for Indented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// A restate-server to start. `named` goes before everything else; `cache` is where one that was fetched is kept.
pub async fn restate_server(named: Option<&Path>, cache: &Path) -> Result<PathBuf, FetchError> {
    if let Some(path) = named {
        return check_named(path).await;
    }
    if let Some(path) = on_path().await {
        return Ok(path);
    }
    let platform = Platform::here()?;
    let dir = cache.join(format!("{PROGRAM}-{VERSION}"));
    let program = platform.program_in(&dir);
    if !program.is_file() {
        install(&platform, cache, &dir).await?;
    }
    Ok(program)
}

/// A person who names another version wants that one.
async fn check_named(path: &Path) -> Result<PathBuf, FetchError> {
    match fitness(path).await {
        Ok(()) => Ok(path.to_owned()),
        Err(Unfit::OtherVersion(version)) => {
            report::progress(format_args!("using {}, as told, though it is {version}", path.display()));
            Ok(path.to_owned())
        }
        Err(unfit) => Err(FetchError::Named { path: path.to_owned(), unfit }),
    }
}

async fn on_path() -> Option<PathBuf> {
    let path = which::which(PROGRAM).ok()?;
    match fitness(&path).await {
        Ok(()) => Some(path),
        Err(unfit) => {
            report::progress(format_args!("not using {}: {unfit}", path.display()));
            None
        }
    }
}

async fn fitness(program: &Path) -> Result<(), Unfit> {
    if starts_like_a_script(program).map_err(Unfit::Unreadable)? {
        return Err(Unfit::Script);
    }
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_WITHIN, command.output())
        .await
        .map_err(|_| Unfit::Silent)?
        .map_err(Unfit::Unreadable)?;
    check_version(&String::from_utf8_lossy(&output.stdout))
}

fn starts_like_a_script(program: &Path) -> io::Result<bool> {
    let mut start = [0; 2];
    let read = std::fs::File::open(program)?.read(&mut start)?;
    Ok(&start[..read] == b"#!")
}

/// `said` is like `restate-server 1.7.12`.
fn check_version(said: &str) -> Result<(), Unfit> {
    let version = said
        .split_whitespace()
        .skip_while(|word| *word != PROGRAM)
        .nth(1)
        .and_then(|version| Version::parse(version).ok())
        .ok_or(Unfit::Silent)?;
    let compatible = VersionReq::parse(COMPATIBLE).expect("a requirement");
    if compatible.matches(&version) { Ok(()) } else { Err(Unfit::OtherVersion(version)) }
}

/// The part of the npm package that holds the program for one system.
#[derive(Debug)]
struct Platform {
    package: String,
}

impl Platform {
    fn here() -> Result<Self, FetchError> {
        Self::of(std::env::consts::OS, std::env::consts::ARCH)
    }

    fn of(os: &'static str, arch: &'static str) -> Result<Self, FetchError> {
        let (npm_os, npm_arch) = match (os, arch) {
            ("linux", "x86_64") => ("linux", "x64"),
            ("linux", "aarch64") => ("linux", "arm64"),
            ("macos", "x86_64") => ("darwin", "x64"),
            ("macos", "aarch64") => ("darwin", "arm64"),
            _ => return Err(FetchError::NoSuchSystem { os, arch }),
        };
        Ok(Self { package: format!("{PACKAGE}-{npm_os}-{npm_arch}") })
    }

    fn program_in(&self, dir: &Path) -> PathBuf {
        dir.join("node_modules").join(&self.package).join("bin").join(PROGRAM)
    }
}

/// Fills a directory beside `dir`, and only a whole one becomes `dir`. Whoever else does the same at the same time may
/// be faster; then theirs is as good.
async fn install(platform: &Platform, cache: &Path, dir: &Path) -> Result<(), FetchError> {
    let npm = find_npm("npm")?;
    let failed = |source| FetchError::Cache { path: cache.to_owned(), source };
    std::fs::create_dir_all(cache).map_err(failed)?;
    let filling = tempfile::Builder::new().prefix(".fetching-").tempdir_in(cache).map_err(failed)?;
    report::progress(format_args!("fetching {PROGRAM} {VERSION} by npm, once, into {} ...", dir.display()));
    let start = Instant::now();
    npm_install(&npm, filling.path()).await?;
    if !platform.program_in(filling.path()).is_file() {
        return Err(FetchError::Incomplete { missing: platform.package.clone() });
    }
    report::progress(format_args!("fetched {PROGRAM} {VERSION} in {:.1} s", start.elapsed().as_secs_f64()));
    match std::fs::rename(filling.path(), dir) {
        Ok(()) => {
            // Nothing is left to be removed.
            let _ = filling.keep();
            Ok(())
        }
        Err(_) if platform.program_in(dir).is_file() => Ok(()),
        Err(_) if dir.exists() => Err(FetchError::Spoiled { dir: dir.to_owned() }),
        Err(source) => Err(FetchError::Cache { path: dir.to_owned(), source }),
    }
}

fn find_npm(name: &str) -> Result<PathBuf, FetchError> {
    which::which(name).map_err(|_| FetchError::NoNpm)
}

/// Scripts are ignored: the package needs none, and one of those that it would run only counts installations.
async fn npm_install(npm: &Path, dir: &Path) -> Result<(), FetchError> {
    let mut command = Command::new(npm);
    command
        .args(["install", "--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--loglevel=error"])
        .arg("--prefix")
        .arg(dir)
        .arg(format!("{PACKAGE}@{VERSION}"))
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(INSTALL_WITHIN, command.output()).await {
        Err(_) => return Err(FetchError::TooSlow),
        Ok(Err(source)) => return Err(FetchError::NpmNotRun { source }),
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).lines().take(10).map(str::to_owned).collect();
    Err(FetchError::Npm { status: output.status, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_1_7_is_compatible() {
        for said in ["restate-server 1.7.12\n", "restate-server 1.7.0 (abc 2026-01-01)"] {
            assert!(check_version(said).is_ok(), "{said}");
        }
        for said in ["restate-server 1.6.2", "restate-server 1.8.0", "restate-server 2.7.12"] {
            assert!(matches!(check_version(said), Err(Unfit::OtherVersion(_))), "{said}");
        }
        for said in ["", "1.7.12", "restate-server", "restate-server of somebody else"] {
            assert!(matches!(check_version(said), Err(Unfit::Silent)), "{said}");
        }
    }

    #[test]
    fn the_program_is_where_npm_puts_it() {
        let program = Platform::of("macos", "aarch64").expect("is supported").program_in(Path::new("/cache"));
        let expected = "/cache/node_modules/@restatedev/restate-server-darwin-arm64/bin/restate-server";
        assert_eq!(program, Path::new(expected));
        assert!(matches!(Platform::of("windows", "x86_64"), Err(FetchError::NoSuchSystem { .. })));
    }

    #[tokio::test]
    async fn a_named_program_must_be_there_and_be_a_program() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = dir.path().join("cache");
        let absent = dir.path().join("absent");
        let error = restate_server(Some(&absent), &cache).await.expect_err("is absent");
        assert!(matches!(error, FetchError::Named { unfit: Unfit::Unreadable(_), .. }), "{error}");
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/usr/bin/env node\n").expect("writes");
        let error = restate_server(Some(&script), &cache).await.expect_err("is a script");
        assert!(matches!(error, FetchError::Named { unfit: Unfit::Script, .. }), "{error}");
        assert!(!cache.exists());
    }

    #[test]
    fn without_npm_the_choices_are_named() {
        let error = find_npm("no-such-npm").expect_err("is absent");
        assert!(matches!(error, FetchError::NoNpm), "{error}");
        for choice in ["Node.js", "PATH", "--restate-server"] {
            assert!(error.to_string().contains(choice), "{error}");
        }
    }
}
