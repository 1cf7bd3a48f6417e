//! Signal handling: the first HUP, INT, QUIT or TERM stops between operations, the second one exits immediately.

use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, mpsc};

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal as Handler, SignalKind, signal};

use crate::kernel::Progress;
use crate::kernel::linux::process;

/// Added to a signal's number: the exit status of a program that the signal terminated.
pub const SIGNALLED: u8 = 128;

/// Why signals cannot be handled.
#[derive(Debug, thiserror::Error)]
#[error("cannot handle signals")]
pub struct ListenError(#[from] io::Error);

/// The first signal that has arrived, if any.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<AtomicU8>);

/// Creates a runtime with a handler for each signal. tokio panics if the system refuses a socket pair; this returns an error instead.
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
    outcome.unwrap_or_else(|_| Err(io::Error::other("cannot create a socket pair")))
}

impl Signals {
    /// Starts to listen for signals, unless this process already does.
    ///
    /// # Errors
    /// If the system refuses a thread or a handler.
    pub fn listen() -> Result<Self, ListenError> {
        static LISTENING: OnceLock<Signals> = OnceLock::new();
        if let Some(signals) = LISTENING.get() {
            return Ok(signals.clone());
        }
        let signals = Self::default();
        let first = signals.clone();
        let all = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
        handle(&not_ignored(&all)?, move |signal| {
            let number = signal as u8;
            if first.0.swap(number, Ordering::SeqCst) != 0 {
                // The terminal may be gone.
                let _ = writeln!(
                    io::stderr(),
                    "Stopped immediately. The network may be partly changed; run `topo apply` or `topo destroy` to continue."
                );
                std::process::exit(i32::from(SIGNALLED + number));
            }
        })?;
        Ok(LISTENING.get_or_init(|| signals).clone())
    }

    /// The exit status for the first signal, if one has arrived.
    pub fn exit_status(&self) -> Option<u8> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            number => Some(SIGNALLED + number),
        }
    }
}

/// Those of the signals that are not ignored, as nohup(1) ignores HUP.
pub fn not_ignored(signals: &[Signal]) -> io::Result<Vec<Signal>> {
    let ignored = process::ignored_signals()?;
    Ok(signals.iter().copied().filter(|signal| !ignored.contains(*signal)).collect())
}

/// Receives the signals to forward to child processes: HUP, INT, QUIT, TERM and TSTP, except those that are ignored; the children
/// inherit that.
///
/// # Errors
/// If the system refuses a thread or a handler.
pub fn forward() -> Result<mpsc::Receiver<Signal>, ListenError> {
    let (sender, signals) = mpsc::channel();
    let all = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTSTP];
    handle(&not_ignored(&all)?, move |signal| {
        // Fails only after the receiver is gone.
        let _ = sender.send(signal);
    })?;
    Ok(signals)
}

/// Starts a thread that calls `callback` for each of the signals that arrives.
fn handle(signals: &[Signal], callback: impl Fn(Signal) + Clone + Send + 'static) -> Result<(), ListenError> {
    let (runtime, handlers) = handlers(signals)?;
    let handlers: Vec<_> = signals.iter().copied().zip(handlers).collect();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for (signal, mut handler) in handlers {
                let callback = callback.clone();
                tasks.spawn(async move {
                    while handler.recv().await.is_some() {
                        callback(signal);
                    }
                });
            }
            while tasks.join_next().await.is_some() {}
        });
    })?;
    Ok(())
}

/// Makes a signal stop the execution of a plan.
pub struct Interruptible(pub Signals);

impl Progress for Interruptible {
    fn stop(&self) -> bool {
        self.0.exit_status().is_some()
    }
}
