//! The embedded store's storage engine: surrealkv 1.2 under the name and the interface of 0.21, which is what SurrealDB 3
//! asks for.
//!
//! surrealkv 0.21 writes a commit to its log before it knows that its table in memory is full. It then begins a new table
//! and a new log, applies the commit to the new ones, and deletes the old log as soon as the old table is on the disk: a
//! process that is killed before the new table is there, too, has lost a commit that was answered (seen in a chaos run:
//! three events of two orders in 2,677). `a_crash_loses_nothing_however_much_was_written` in `activities/src/store_test.rs`
//! holds that. surrealkv 1 tells which log each table needs. Once SurrealDB has moved on to it, this crate can go, but for
//! [`Durability`].

use std::path::PathBuf;

pub use mended::{Error, HistoryOptions, LSMIterator, Mode, Result, Transaction, Tree};

/// When a commit is on the disk. SurrealDB asks for [`Durability::Eventual`] whatever its own settings say, and syncs afterwards
/// if they say so, when others have read the commit already: what they answered because of it could be gone after a power loss.
pub struct Durability;

#[expect(non_upper_case_globals, reason = "it stands for a variant")]
impl Durability {
    /// Before anybody sees it. Commits that come together are synced together.
    pub const Eventual: mended::Durability = mended::Durability::Immediate;
}

/// Opens a [`Tree`], which is as surrealkv has it but for what is set here.
#[derive(Default)]
pub struct TreeBuilder(mended::TreeBuilder);

macro_rules! settings {
    ($($name:ident($($value:ident: $type:ty),+);)+) => {
        impl TreeBuilder {$(
            /// Passed on.
            #[must_use]
            pub fn $name(self, $($value: $type),+) -> Self {
                Self(self.0.$name($($value),+))
            }
        )+}
    };
}

settings! {
    with_block_cache_capacity(bytes: u64);
    with_block_size(bytes: usize);
    with_enable_vlog(enable: bool);
    with_max_memtable_size(bytes: usize);
    with_path(path: PathBuf);
    with_versioning(enable: bool, retention_ns: u64);
    with_vlog_max_file_size(bytes: u64);
    with_vlog_value_threshold(bytes: usize);
}

impl TreeBuilder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing: versions are found without an index of their own now.
    #[must_use]
    pub const fn with_versioned_index(self, _: bool) -> Self {
        self
    }

    /// # Errors
    /// Where the directory cannot be opened, or is another process'.
    pub fn build(self) -> Result<Tree> {
        self.0.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_that_is_not_on_the_disk() {
        assert_eq!(Durability::Eventual, mended::Durability::Immediate);
    }
}
