//! What comes at the same time is written or read together: a run of statements costs the store little more for ten rows than for
//! one, and those that would write the same row wait for each other here instead of running into a conflict there.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::store::{Database, StoreError, Variables, records};

/// How many are written together at most.
const MOST: usize = 64;
/// How many may wait to be written; more wait to wait.
const QUEUE: usize = 1024;

/// One after another, whatever has come meanwhile is done together. Ends when it is dropped.
pub struct Together<T, R>(mpsc::Sender<(T, Done<R>)>);

type Done<R> = oneshot::Sender<Result<R, StoreError>>;

impl<T: Send + Sync + 'static, R: Send + 'static> Together<T, R> {
    /// `commit` does all that it is given or nothing of it, and answers each in its order.
    pub fn start<C, F>(commit: C) -> Self
    where
        C: Fn(&[T]) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<R>, StoreError>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(work(waiting, commit));
        Self(queue)
    }

    /// Returns when it is done, or is not. Whoever does not wait any more may find it done all the same.
    pub async fn run(&self, what: T) -> Result<R, StoreError> {
        let (done, outcome) = oneshot::channel();
        self.0.send((what, done)).await.map_err(|_| StoreError::NoAnswer)?;
        outcome.await.unwrap_or(Err(StoreError::NoAnswer))
    }
}

/// The documents of a table that are asked for at the same time, by their ids: read together, and `None` where there is none.
pub fn documents(database: Database, table: &'static str) -> Together<String, Option<Value>> {
    rows(database, table, "doc")
}

/// The same of something else that is in the rows.
pub fn rows<R>(database: Database, table: &'static str, what: &'static str) -> Together<String, Option<R>>
where
    R: DeserializeOwned + Clone + Send + 'static,
{
    Together::start(move |ids: &[String]| {
        let (database, ids) = (database.clone(), ids.to_vec());
        async move {
            let named = Variables::default().with("ids", records(table, ids.iter().map(|id| json!(id))));
            let statement = format!("SELECT VALUE [record::id(id), {what}] FROM $ids");
            let found: Vec<(String, R)> = database.run(&statement, named).await?.read(0)?;
            let found: BTreeMap<_, _> = found.into_iter().collect();
            Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
        }
    })
}

/// How often others go first.
const OTHERS_FIRST: usize = 4;

/// Lets go first whatever can go on, which may be those who come with something that can be done together with this. Where nothing
/// waits for the processors, that takes no time.
pub async fn others_first() {
    for _ in 0..OTHERS_FIRST {
        tokio::task::yield_now().await;
    }
}

/// Takes what else has come, up to so many in all.
pub fn more<T>(waiting: &mut mpsc::Receiver<T>, come: &mut Vec<T>, most: usize) {
    while come.len() < most
        && let Ok(one) = waiting.try_recv()
    {
        come.push(one);
    }
}

async fn work<T, R, C, F>(mut waiting: mpsc::Receiver<(T, Done<R>)>, commit: C)
where
    C: Fn(&[T]) -> F,
    F: Future<Output = Result<Vec<R>, StoreError>>,
{
    let mut come = Vec::new();
    while waiting.recv_many(&mut come, MOST).await > 0 {
        others_first().await;
        more(&mut waiting, &mut come, MOST);
        let (all, done): (Vec<T>, VecDeque<_>) = come.drain(..).filter(|(_, done)| !done.is_closed()).unzip();
        if all.is_empty() {
            continue;
        }
        // A panic in the store ends these only: who waits for them hears that there was no answer.
        if AssertUnwindSafe(in_parts(&all, done, &commit)).catch_unwind().await.is_err() {
            error!("writing together panicked");
        }
    }
}

/// All of them at once, or else by halves, down to each by itself: one that cannot be done is in no other's way.
async fn in_parts<T, R, C, F>(all: &[T], mut done: VecDeque<Done<R>>, commit: &C)
where
    C: Fn(&[T]) -> F,
    F: Future<Output = Result<Vec<R>, StoreError>>,
{
    let mut parts = vec![all];
    while let Some(part) = parts.pop() {
        let outcomes: Vec<_> = match commit(part).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) => {
                let copies: Option<Vec<_>> = part.iter().skip(1).map(|_| copy_of(&error)).collect();
                let Some(copies) = copies else {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                    continue;
                };
                copies.into_iter().chain([error]).map(Err).collect()
            }
        };
        debug_assert_eq!(outcomes.len(), part.len());
        for (outcome, done) in outcomes.into_iter().zip(done.drain(..part.len())) {
            let _ = done.send(outcome);
        }
    }
}

/// The same once more, where it is wrong with none of them in particular, so that no half would fare better.
fn copy_of(error: &StoreError) -> Option<StoreError> {
    match error {
        StoreError::Unreachable => Some(StoreError::Unreachable),
        StoreError::NoAnswer => Some(StoreError::NoAnswer),
        StoreError::Conflicts => Some(StoreError::Conflicts),
        StoreError::Broken(why) => Some(StoreError::Broken(why.clone())),
        StoreError::Exists | StoreError::Thrown(_) | StoreError::Failed(_) | StoreError::Unreadable(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    /// Doubles numbers; notes how many at a time.
    fn doubling(sizes: &Arc<Mutex<Vec<usize>>>) -> Together<u32, u32> {
        let sizes = sizes.clone();
        Together::start(move |numbers: &[u32]| {
            let (numbers, sizes) = (numbers.to_vec(), sizes.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                sizes.lock().expect("not poisoned").push(numbers.len());
                match numbers.as_slice() {
                    _ if numbers.contains(&13) => Err(StoreError::Exists),
                    _ if numbers.contains(&99) => Err(StoreError::Unreachable),
                    _ if numbers.contains(&666) => panic!("it does"),
                    _ => Ok(numbers.into_iter().map(|number| number * 2).collect()),
                }
            }
        })
    }

    #[tokio::test]
    async fn each_hears_its_own_answer_and_they_are_done_together() {
        let sizes = Arc::default();
        let together = doubling(&sizes);
        let answers = join_all((0..200).filter(|n| ![13, 99].contains(n)).map(|n| together.run(n))).await;
        let answers: Vec<u32> = answers.into_iter().map(|answer| answer.expect("is done")).collect();
        assert_eq!(answers, (0..200).filter(|n| ![13, 99].contains(n)).map(|n| n * 2).collect::<Vec<_>>());
        assert!(sizes.lock().expect("not poisoned").contains(&MOST));
    }

    #[tokio::test]
    async fn one_that_cannot_be_done_is_in_no_others_way() {
        let sizes = Arc::default();
        let together = doubling(&sizes);
        let outcomes = join_all((10..26).map(|n| together.run(n))).await;
        for (n, outcome) in (10..26).zip(outcomes) {
            assert_eq!(outcome.ok(), (n != 13).then_some(n * 2));
        }
        // What nobody's half would answer is asked once.
        let before = sizes.lock().expect("not poisoned").len();
        let outcomes = join_all((90..106).map(|n| together.run(n))).await;
        assert!(outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Unreachable))).count() > 1);
        assert!(sizes.lock().expect("not poisoned").len() - before <= 2);
    }

    #[tokio::test]
    async fn it_goes_on_after_a_panic_and_leaves_out_who_has_gone() {
        let sizes = Arc::default();
        let together = doubling(&sizes);
        assert!(matches!(together.run(666).await, Err(StoreError::NoAnswer)));
        let gone = tokio::time::timeout(Duration::ZERO, together.run(13)).await;
        assert!(gone.is_err());
        assert_eq!(together.run(4).await.ok(), Some(8));
    }
}
