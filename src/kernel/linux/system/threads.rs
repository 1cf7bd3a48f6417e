//! Threads that enter network namespaces, so that all others stay where topo was started.
//!
//! They take their jobs from one queue. Two of them and the main thread share what is often two processors: with a queue for each,
//! the one that has to share its processor would be at work long after the other.

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
    /// How many jobs no thread has begun yet.
    waiting: Arc<AtomicUsize>,
}

impl NamespaceThreads {
    /// Starts so many.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(count: usize) -> io::Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        let received = Arc::new(Mutex::new(received));
        for _ in 0..count {
            let (home, received) = (of_this_thread()?, received.clone());
            std::thread::Builder::new().name("namespaces".into()).spawn(move || {
                while let Some(job) = next(&received) {
                    job();
                    // A thread that stayed would keep a namespace alive that is removed meanwhile.
                    let _ = enter(&home);
                }
            })?;
        }
        Ok(Self { count, jobs, waiting: Arc::default() })
    }

    /// Has one of the threads run a function. The function chooses its namespace with [`enter`].
    ///
    /// # Errors
    /// When all threads have ended because functions panicked.
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

    /// The same, and waits for it.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.begin(job)?.wait()
    }

    /// Has threads repeat a step, as long as the step says that there is more of it and nobody wants anything else of them: as many as
    /// there are processors beside that of the calling thread, but one at least.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn meanwhile(&self, step: impl Fn() -> bool + Clone + Send + 'static) -> io::Result<()> {
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

/// What a function on another thread will return.
pub struct Answer<T>(mpsc::Receiver<T>);

impl<T> Answer<T> {
    /// What is known already.
    pub fn given(value: T) -> Self {
        let (answer, answered) = mpsc::channel();
        let _ = answer.send(value);
        Self(answered)
    }

    /// Waits for it.
    ///
    /// # Errors
    /// When the function panicked.
    pub fn wait(self) -> io::Result<T> {
        self.0.recv().map_err(|_| ended())
    }
}

/// Divides work into portions: large ones first, so that they are few, and small ones last, so that all threads end at about the
/// same time. Less than `least` is not worth a message.
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
    fn what_is_done_meanwhile_makes_way() {
        let threads = NamespaceThreads::start(1).unwrap();
        threads.meanwhile(|| true).unwrap();
        assert_eq!(threads.run(|| 1).unwrap(), 1);
    }

    #[test]
    fn a_function_that_panics_ends_its_own_thread_alone() {
        let threads = NamespaceThreads::start(2).unwrap();
        let panics = || -> io::Result<()> { threads.run(|| panic!("on purpose")) };
        assert!(panics().is_err());
        assert_eq!(threads.run(|| 1).unwrap(), 1);
        assert!(panics().is_err());
        assert!(threads.run(|| 1).is_err());
    }
}
