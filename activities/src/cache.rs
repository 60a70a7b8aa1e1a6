//! What is read again and again and seldom changes, kept in memory for a moment where nobody but this process can change it.
//! Over a store that others write to as well, nothing is kept.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::Database;

/// For how long: a change that nobody waited for to the end may come true unnoticed.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// How many are kept at most; then it begins anew.
const MOST: usize = 10_000;

pub struct Cache<K, V>(Option<Mutex<Kept<K, V>>>);

struct Kept<K, V> {
    values: HashMap<K, (Instant, V)>,
    changes: u64,
}

/// Since when something is read that is to be kept.
#[derive(Clone, Copy)]
pub struct Since {
    at: Instant,
    changes: u64,
}

/// Something that is being changed, until this is dropped: also by whoever does not wait any more.
pub struct Changing<'a, K: Eq + Hash, V> {
    cache: &'a Cache<K, V>,
    key: K,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Of what is in this database.
    pub fn of(database: &Database) -> Self {
        let kept = || Mutex::new(Kept { values: HashMap::new(), changes: 0 });
        Self((!database.is_shared()).then(kept))
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let kept = self.kept()?;
        kept.values.get(key).filter(|(at, _)| at.elapsed() < KEPT_FOR).map(|(_, value)| value.clone())
    }

    /// To be asked before something is read that is to be kept.
    pub fn since(&self) -> Since {
        Since { at: Instant::now(), changes: self.kept().map_or(0, |kept| kept.changes) }
    }

    /// Keeps what was read, unless something was changed meanwhile.
    pub fn keep(&self, since: Since, key: K, value: V) {
        let Some(mut kept) = self.kept() else { return };
        if kept.changes != since.changes {
            return;
        }
        if kept.values.len() >= MOST {
            kept.values.clear();
        }
        kept.values.insert(key, (since.at, value));
    }

    /// To be asked before it is changed, and dropped afterwards.
    pub fn changing(&self, key: K) -> Changing<'_, K, V> {
        Changing { cache: self, key }
    }
}

impl<K, V> Cache<K, V> {
    fn kept(&self) -> Option<MutexGuard<'_, Kept<K, V>>> {
        self.0.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Eq + Hash, V> Drop for Changing<'_, K, V> {
    fn drop(&mut self) {
        if let Some(mut kept) = self.cache.kept() {
            kept.changes += 1;
            kept.values.remove(&self.key);
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;
    use crate::store::Store;

    async fn cache() -> Cache<&'static str, u32> {
        let store = Store::open("mem://").await.expect("opens");
        Cache::of(&store.database("orders").await.expect("a session"))
    }

    #[tokio::test]
    async fn what_was_read_is_kept_until_it_is_changed() {
        let cache = cache().await;
        let since = cache.since();
        cache.keep(since, "a", 1);
        cache.keep(since, "b", 2);
        assert_eq!((cache.get(&"a"), cache.get(&"b"), cache.get(&"c")), (Some(1), Some(2), None));
        drop(cache.changing("a"));
        assert_eq!((cache.get(&"a"), cache.get(&"b")), (None, Some(2)));
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = cache().await;
        let before = cache.since();
        let changing = cache.changing("a");
        let meanwhile = cache.since();
        cache.keep(meanwhile, "a", 1);
        drop(changing);
        assert_eq!(cache.get(&"a"), None);
        for since in [before, meanwhile] {
            cache.keep(since, "a", 1);
            assert_eq!(cache.get(&"a"), None);
        }
        cache.keep(cache.since(), "a", 2);
        assert_eq!(cache.get(&"a"), Some(2));
    }

    #[tokio::test]
    async fn nothing_is_kept_for_long_and_not_everything() {
        let cache = cache().await;
        let since = cache.since();
        let Some(long_ago) = since.at.checked_sub(KEPT_FOR) else { return };
        cache.keep(Since { at: long_ago, ..since }, "a", 1);
        assert_eq!(cache.get(&"a"), None);
        let many = Cache(Some(Mutex::new(Kept { values: HashMap::new(), changes: 0 })));
        for n in 0..=MOST {
            many.keep(many.since(), n, n);
        }
        assert_eq!((many.get(&0), many.get(&MOST)), (None, Some(MOST)));
    }
}
