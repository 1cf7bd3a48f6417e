//! Threads that enter network namespaces, so that the main thread stays in the namespace where topo was started.
//!
//! They share one queue of jobs. Often, two of them and the main thread share two processors. With separate queues, the thread that shares
//! its processor with the main thread would finish long after the other.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::netns::{enter, of_this_thread};

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when the value is dropped.
pub struct NamespaceThreads {
    count: usize,
    jobs: mpsc::Sender<Job>,
    /// The number of jobs that no thread has begun yet.
    waiting: Arc<AtomicUsize>,
}

impl NamespaceThreads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// Fails if the system refuses a thread.
    pub fn start(count: usize) -> io::Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        let received = Arc::new(Mutex::new(received));
        for _ in 0..count {
            let (home, received) = (of_this_thread()?, received.clone());
            std::thread::Builder::new().name("namespaces".into()).spawn(move || {
                while let Some(job) = next(&received) {
                    job();
                    // A thread inside a removed namespace would keep it alive.
                    let _ = enter(&home);
                }
            })?;
        }
        Ok(Self { count, jobs, waiting: Arc::default() })
    }

    /// Begins to run a function on one of the threads. The function enters a namespace with [`enter`].
    ///
    /// # Errors
    /// Fails if all threads have ended because functions panicked.
    pub fn begin<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<Answer<T>> {
        let (answer, answered) = mpsc::channel();
        let waiting = self.waiting.clone();
        waiting.fetch_add(1, Ordering::Relaxed);
        self.send(move || {
            waiting.fetch_sub(1, Ordering::Relaxed);
            let _ = answer.send(job());
        })?;
        Ok(Answer(answered))
    }

    /// Runs a function on one of the threads, and waits for its result.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.begin(job)?.wait()
    }

    /// Repeats a step on idle threads while it returns true and no job is waiting. Uses one thread less than there are processors, but at
    /// least one.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn repeat_while_idle(&self, step: impl Fn() -> bool + Clone + Send + 'static) -> io::Result<()> {
        let processors = sched_getaffinity(Pid::from_raw(0))
            .map_or(1, |set| (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).count());
        for _ in 0..processors.saturating_sub(1).clamp(1, self.count) {
            let (step, waiting) = (step.clone(), self.waiting.clone());
            self.send(move || while waiting.load(Ordering::Relaxed) == 0 && step() {})?;
        }
        Ok(())
    }

    fn send(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.jobs.send(Box::new(job)).map_err(|_| ended())
    }
}

/// Waits for a job; `None` when there will be no more.
fn next(jobs: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    jobs.lock().ok()?.recv().ok()
}

fn ended() -> io::Error {
    io::Error::other("the namespace thread has ended")
}

/// The future result of a function on another thread.
pub struct Answer<T>(mpsc::Receiver<T>);

impl<T> Answer<T> {
    /// Returns an answer that is known already.
    pub fn given(value: T) -> Self {
        let (answer, answered) = mpsc::channel();
        let _ = answer.send(value);
        Self(answered)
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// Fails if the function panicked.
    pub fn wait(self) -> io::Result<T> {
        self.0.recv().map_err(|_| ended())
    }
}

/// Divides work into portions: large ones first, so that there are few, and small ones last, so that all threads finish at about the same
/// time. A portion has at least `least` items, except for the last one.
pub fn portions<T>(mut work: Vec<T>, least: usize) -> impl Iterator<Item = Vec<T>> {
    const THREADS: usize = 2;
    work.reverse();
    std::iter::from_fn(move || {
        let portion = work.len().div_ceil(2 * THREADS).max(least).min(work.len());
        let rest = work.len() - portion;
        Some(work.drain(rest..).rev().collect()).filter(|portion: &Vec<T>| !portion.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_is_in_the_portions_in_order() {
        let sizes = |work: usize| portions((0..work).collect(), 5).map(|portion: Vec<_>| portion.len()).collect::<Vec<_>>();
        assert_eq!(sizes(0), [] as [usize; 0]);
        assert_eq!(sizes(10), [5, 5]);
        assert_eq!(sizes(40), [10, 8, 6, 5, 5, 5, 1]);
        assert!(portions((0..1000).collect(), 1).flatten().eq(0..1000));
    }

    #[test]
    fn a_repeated_step_yields_to_jobs() {
        let threads = NamespaceThreads::start(1).unwrap();
        threads.repeat_while_idle(|| true).unwrap();
        assert_eq!(threads.run(|| 1).unwrap(), 1);
    }

    #[test]
    fn a_panic_ends_only_its_own_thread() {
        let threads = NamespaceThreads::start(2).unwrap();
        let panics = || -> io::Result<()> { threads.run(|| panic!("on purpose")) };
        assert!(panics().is_err());
        assert_eq!(threads.run(|| 1).unwrap(), 1);
        assert!(panics().is_err());
        assert!(threads.run(|| 1).is_err());
    }
}
