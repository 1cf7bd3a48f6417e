//! INT and TERM: the first asks to stop between operations, the second ends the program at once.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal as Handler, SignalKind, signal};

use crate::kernel::Progress;
use crate::kernel::linux::process;

/// Exit status of a program that a signal ended, less the signal's number.
const SIGNALLED: u8 = 128;

/// Signals cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[error("cannot wait for signals")]
pub struct ListenError(#[from] io::Error);

/// Which signal has come, if any.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<AtomicU8>);

/// A runtime with a handler for each of these signals. tokio panics where the system refuses it a pair of sockets; here that is an error
/// like any other.
fn handlers(signals: &[Signal]) -> io::Result<(Runtime, Vec<Handler>)> {
    let register = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let inside = runtime.enter();
        let kinds = signals.iter().map(|wanted| SignalKind::from_raw(*wanted as i32));
        let handlers = kinds.map(signal).collect::<io::Result<Vec<_>>>()?;
        drop(inside);
        Ok((runtime, handlers))
    };
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(register));
    panic::set_hook(hook);
    outcome.unwrap_or_else(|_| Err(io::Error::other("the system refuses a pair of sockets")))
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system refuses a thread or a handler.
    pub fn listen() -> Result<Self, ListenError> {
        let signals = Self::default();
        let seen = signals.clone();
        each(&[Signal::SIGINT, Signal::SIGTERM], move |signal| {
            let number = signal as u8;
            if seen.0.swap(number, Ordering::SeqCst) != 0 {
                eprintln!("Stopped at once; the network may be half changed. `topo apply` or `topo destroy` continues.");
                std::process::exit(i32::from(SIGNALLED + number));
            }
        })?;
        Ok(signals)
    }

    /// The exit status that the first signal asks for.
    pub fn exit_code(&self) -> Option<u8> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            number => Some(SIGNALLED + number),
        }
    }
}

/// The signals that are meant for those that this process waits for: HUP, INT, QUIT, TERM and TSTP, without those that it was started to
/// ignore, as nohup(1) does: they are ignored by all.
///
/// # Errors
/// When the system refuses a thread or a handler.
pub fn relay() -> Result<mpsc::Receiver<Signal>, ListenError> {
    let (seen, signals) = mpsc::channel();
    let ignored = process::ignored_signals()?;
    let all = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTSTP];
    let heeded: Vec<_> = all.into_iter().filter(|signal| !ignored.contains(*signal)).collect();
    each(&heeded, move |signal| {
        // Nobody waits for them any more.
        let _ = seen.send(signal);
    })?;
    Ok(signals)
}

/// Has a thread call `seen` for each of these signals that comes.
fn each(signals: &[Signal], seen: impl Fn(Signal) + Clone + Send + 'static) -> Result<(), ListenError> {
    let (runtime, handlers) = handlers(signals)?;
    let handlers: Vec<_> = signals.iter().copied().zip(handlers).collect();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for (signal, mut handler) in handlers {
                let seen = seen.clone();
                tasks.spawn(async move {
                    while handler.recv().await.is_some() {
                        seen(signal);
                    }
                });
            }
            while tasks.join_next().await.is_some() {}
        });
    })?;
    Ok(())
}

/// Stops when a signal has come.
pub struct Interruptible(pub Signals);

impl Progress for Interruptible {
    fn stop(&self) -> bool {
        self.0.exit_code().is_some()
    }
}
