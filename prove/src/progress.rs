//! One line on standard error that says what is going on, if somebody watches.

use std::{
    future::Future,
    io::{IsTerminal, Write, stderr},
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Between two changes of the line. A round that is shorter shows nothing.
const EVERY: Duration = Duration::from_millis(250);

pub(super) struct Progress {
    /// None: nobody watches. A terminal that went away is no reason to stop a measurement, so writing may fail.
    screen: Option<Mutex<Box<dyn Write + Send>>>,
}

impl Progress {
    pub(super) fn on_terminal() -> Progress {
        if stderr().is_terminal() { Progress::to(Box::new(stderr())) } else { Progress { screen: None } }
    }

    fn to(screen: Box<dyn Write + Send>) -> Progress {
        Progress { screen: Some(Mutex::new(screen)) }
    }

    pub(super) fn phase(&self, name: &str) {
        self.show(&format!("\r\x1b[K{name}\n"));
    }

    /// Waits for `work` and shows how much was sent meanwhile.
    pub(super) async fn watch<F: Future>(&self, work: F, sent: &AtomicU64) -> F::Output {
        if self.screen.is_none() {
            return work.await;
        }
        let mut work = pin!(work);
        let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_shown = false;
        loop {
            tokio::select! {
                output = &mut work => {
                    if is_shown {
                        self.show("\r\x1b[K");
                    }
                    return output;
                }
                _ = ticks.tick() => {
                    self.show(&format!("\r\x1b[K  {} requests sent", sent.load(Ordering::Relaxed)));
                    is_shown = true;
                }
            }
        }
    }

    fn show(&self, text: &str) {
        if let Some(screen) = &self.screen {
            let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
            drop(screen.write_all(text.as_bytes()).and_then(|()| screen.flush()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use tokio::time::sleep;

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_changes_four_times_a_second_and_is_erased_once() {
        let screen = Screen::default();
        let progress = Progress::to(Box::new(screen.clone()));
        let sent = AtomicU64::new(0);
        let work = async {
            for _ in 0..1_099 {
                sent.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(1)).await;
            }
        };
        progress.watch(work, &sent).await;
        let shown = screen.0.lock().unwrap().clone();
        assert_eq!(shown.len(), 5, "{shown:?}");
        assert!(shown[..4].iter().all(|line| line.ends_with(" requests sent")), "{shown:?}");
        assert_eq!(shown[4], "\r\x1b[K");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_at_once_shows_nothing() {
        let screen = Screen::default();
        let progress = Progress::to(Box::new(screen.clone()));
        for _ in 0..1_000 {
            progress.watch(async {}, &AtomicU64::new(1)).await;
        }
        assert!(screen.0.lock().unwrap().is_empty());
    }
}
