//! What a system takes of its machine: the memory and the processor time of its processes, and the disk under its directory.
//! It is sampled while a scenario is measured, and costs a few files read every half second.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

const EVERY: Duration = Duration::from_millis(500);
/// In which processor time is told by Linux, whatever its clock.
const TICK: Duration = Duration::from_millis(10);

/// What is looked at. Of a system that the bench has not started, nothing.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// jumun's process and its engine's.
    pub pids: Vec<u32>,
    pub dir: Option<PathBuf>,
}

/// What was taken at a moment; absent where nobody can tell.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub at: Instant,
    /// Resident bytes of all processes together.
    pub rss: Option<u64>,
    /// Processor time of all processes together, since they were started.
    pub cpu: Option<Duration>,
    /// The bench's own.
    pub bench_cpu: Option<Duration>,
    /// Bytes in files. What is set aside for files to grow into is not counted: how much that is says nothing of orders.
    pub disk: Option<u64>,
}

/// A stretch of time that is being measured.
pub struct Span {
    meter: Meter,
    readings: Arc<Mutex<Vec<Reading>>>,
    sampling: AbortOnDropHandle<()>,
}

/// What was taken in a stretch of time: never empty, oldest first.
#[derive(Clone, Debug)]
pub struct Used(Vec<Reading>);

impl Meter {
    pub async fn read(&self) -> Reading {
        let meter = self.clone();
        tokio::task::spawn_blocking(move || meter.read_now()).await.expect("reading does not panic")
    }

    fn read_now(&self) -> Reading {
        let processes: Option<Vec<_>> = self.pids.iter().map(|pid| process(*pid)).collect();
        let processes = processes.filter(|processes| !processes.is_empty());
        Reading {
            at: Instant::now(),
            rss: processes.as_ref().map(|processes| processes.iter().map(|(rss, _)| rss).sum()),
            cpu: processes.as_ref().map(|processes| processes.iter().map(|(_, cpu)| *cpu).sum()),
            bench_cpu: process(std::process::id()).map(|(_, cpu)| cpu),
            disk: self.dir.as_deref().map(disk),
        }
    }

    /// Begins to measure.
    pub async fn begin(self) -> Span {
        let readings = Arc::new(Mutex::new(vec![self.read().await]));
        let (meter, sampled) = (self.clone(), readings.clone());
        let sampling = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let reading = meter.read().await;
                sampled.lock().expect("no panic").push(reading);
            }
        }));
        Span { meter: self, readings, sampling }
    }
}

impl Span {
    pub async fn end(self) -> Used {
        let last = self.meter.read().await;
        drop(self.sampling);
        let mut readings = std::mem::take(&mut *self.readings.lock().expect("no panic"));
        // One that was being taken may have come late.
        readings.retain(|reading| reading.at < last.at);
        readings.push(last);
        Used(readings)
    }
}

impl Used {
    fn first(&self) -> &Reading {
        self.0.first().expect("never empty")
    }

    pub fn last(&self) -> &Reading {
        self.0.last().expect("never empty")
    }

    pub fn peak_rss(&self) -> Option<u64> {
        self.0.iter().filter_map(|reading| reading.rss).max()
    }

    pub fn cpu(&self) -> Option<Duration> {
        self.last().cpu?.checked_sub(self.first().cpu?)
    }

    pub fn bench_cpu(&self) -> Option<Duration> {
        self.last().bench_cpu?.checked_sub(self.first().bench_cpu?)
    }

    /// How many bytes more there are on disk; fewer after much was compacted.
    pub fn disk_growth(&self) -> Option<i64> {
        Some(self.last().disk?.cast_signed() - self.first().disk?.cast_signed())
    }

    /// Seconds since the beginning, and the resident bytes then.
    pub fn memory(&self) -> impl Iterator<Item = (f64, u64)> {
        let began = self.first().at;
        self.0.iter().filter_map(move |reading| Some(((reading.at - began).as_secs_f64(), reading.rss?)))
    }
}

/// Whether a process of that id runs. One that only waits to be buried does not. Systems other than Linux do not tell.
pub fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.starts_with(['Z', 'X']))
}

/// Resident bytes and processor time of a process.
fn process(pid: u32) -> Option<(u64, Duration)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    let stat = stat(pid)?;
    let ticks = stat.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some((kib * 1024, TICK * ticks))
}

/// The fields of a process's `/proc/PID/stat` behind its name: state, parent, …, and 12th and 13th the ticks that it ran.
fn stat(pid: u32) -> Option<String> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A name may contain anything.
    Some(line.rsplit_once(") ")?.1.to_owned())
}

/// What is in all files below a directory. A file that goes away meanwhile counts nothing.
fn disk(dir: &Path) -> u64 {
    let (mut bytes, mut directories) = (0, VecDeque::from([dir.to_owned()]));
    while let Some(directory) = directories.pop_front() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => directories.push_back(entry.path()),
                Ok(metadata) if metadata.is_file() => bytes += metadata.len(),
                _ => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_is_what_lies_below() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(disk(dir.path()), 0);
        std::fs::create_dir(dir.path().join("below")).expect("makes");
        std::fs::write(dir.path().join("below/file"), vec![1; 10_000]).expect("writes");
        assert_eq!(disk(dir.path()), 10_000);
        assert_eq!(disk(&dir.path().join("absent")), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_runs_and_takes_memory() {
        let (rss, _) = process(std::process::id()).expect("is told");
        assert!(rss > 0 && runs(std::process::id()));
        assert!(!runs(u32::MAX / 2));
    }
}
