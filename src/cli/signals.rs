//! INT and TERM: the first asks to stop between operations, the second ends the program at once.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal as Handler, SignalKind, signal};

use crate::kernel::Progress;

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
fn handlers<const N: usize>(kinds: [SignalKind; N]) -> io::Result<(Runtime, [Handler; N])> {
    let register = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let inside = runtime.enter();
        let handlers = kinds.into_iter().map(signal).collect::<io::Result<Vec<_>>>()?;
        drop(inside);
        Ok((runtime, handlers.try_into().map_err(|_| io::Error::other("as many handlers as signals"))?))
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
        let (runtime, [mut interrupt, mut terminate]) = handlers([SignalKind::interrupt(), SignalKind::terminate()])?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let number = tokio::select! {
                        _ = interrupt.recv() => 2,
                        _ = terminate.recv() => 15,
                    };
                    if seen.0.swap(number, Ordering::SeqCst) != 0 {
                        eprintln!("Stopped at once; the network may be half changed. `topo apply` or `topo destroy` continues.");
                        std::process::exit(i32::from(SIGNALLED + number));
                    }
                }
            });
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

/// The signals that ask this process to end, for those that it waits for: HUP, INT, QUIT and TERM.
///
/// # Errors
/// When the system refuses a thread or a handler.
pub fn relay() -> Result<mpsc::Receiver<Signal>, ListenError> {
    let (seen, signals) = mpsc::channel();
    let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
    let (runtime, [mut hangup, mut interrupt, mut quit, mut terminate]) = handlers(kinds)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                let signal = tokio::select! {
                    _ = hangup.recv() => Signal::SIGHUP,
                    _ = interrupt.recv() => Signal::SIGINT,
                    _ = quit.recv() => Signal::SIGQUIT,
                    _ = terminate.recv() => Signal::SIGTERM,
                };
                if seen.send(signal).is_err() {
                    return;
                }
            }
        });
    })?;
    Ok(signals)
}

/// Stops when a signal has come.
pub struct Interruptible(pub Signals);

impl Progress for Interruptible {
    fn stop(&self) -> bool {
        self.0.exit_code().is_some()
    }
}
