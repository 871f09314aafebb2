//! Which log lines tell of a store that comes and goes: each event is logged once for the process, although each
//! runtime has its own connection. The metrics count the rest.

use std::{fmt, mem};

use super::{LineHealth, LineState, Trouble};

/// The events logged so far.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// There was a connection to the store.
    is_met: bool,
    /// A connection was lost or could not be opened, and not all connections have been up and settled since.
    is_away: bool,
    /// The reason was logged.
    is_explained: bool,
}

/// An event to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Met,
    MetAgain,
    Lost,
    Unreachable,
}

// === impl Outage ===

impl Outage {
    /// A connection was opened.
    fn opened(&mut self) -> Option<Event> {
        (!self.is_away && !mem::replace(&mut self.is_met, true)).then_some(Event::Met)
    }

    /// All connections have been up for a moment.
    fn settled(&mut self) -> Option<Event> {
        let before = mem::replace(self, Outage { is_met: true, ..Outage::default() });
        before.is_away.then_some(if before.is_met { Event::MetAgain } else { Event::Met })
    }

    /// A connection was lost.
    fn lost(&mut self) -> Option<Event> {
        (!mem::replace(&mut self.is_away, true)).then_some(Event::Lost)
    }

    fn unreachable(&mut self) -> Option<Event> {
        self.is_away = true;
        (!mem::replace(&mut self.is_explained, true)).then_some(Event::Unreachable)
    }

    /// The store cannot be used. The reason is logged elsewhere.
    pub(super) fn denied(&mut self) {
        self.is_away = true;
    }
}

// === impl LineHealth ===

impl LineHealth {
    /// A connection was opened.
    pub fn is_opened(&self) {
        let event = self.outage(Outage::opened);
        self.tell(event, "");
    }

    /// The connection has been up for long enough to count as stable.
    pub fn has_settled(&self) {
        self.change(|state| LineState { is_settled: true, ..*state });
        let mut lines = self.shared.lines();
        let server = lines.servers.get_mut(&self.server);
        let settled = server.filter(|server| server.settled == server.kept);
        let event = settled.and_then(|server| server.outage.settled());
        drop(lines);
        self.tell(event, "");
    }

    /// The connection was lost.
    pub fn is_lost(&self) {
        let event = self.outage(Outage::lost);
        self.tell(event, "");
        self.is_down_by(Trouble::Away(format!("lost the connection to {}", self.server)));
    }

    /// No connection can be opened. `error` is shown to operators and must hold no password.
    pub fn is_unreachable(&self, error: &str) {
        let event = self.outage(Outage::unreachable);
        self.tell(event, error);
        self.is_down_by(Trouble::Away(format!("cannot reach {}: {error}", self.server)));
    }

    /// Notes an event of the server.
    pub(super) fn outage<T: Default>(&self, note: impl FnOnce(&mut Outage) -> T) -> T {
        let mut lines = self.shared.lines();
        // It is there as long as one of its connections is.
        lines.servers.get_mut(&self.server).map(|server| note(&mut server.outage)).unwrap_or_default()
    }

    fn tell(&self, event: Option<Event>, error: impl fmt::Display) {
        let store = &self.server;
        match event {
            Some(Event::Met) => tracing::info!(%store, "connected to the store"),
            Some(Event::MetAgain) => tracing::info!(%store, "connected to the store again"),
            Some(Event::Lost) => tracing::warn!(%store, "lost the connection to the store"),
            Some(Event::Unreachable) => {
                tracing::warn!(%store, %error, "cannot reach the store; Tollgate keeps trying: check its address and whether it runs");
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Outage};

    #[test]
    fn of_many_connections_that_come_and_go_together_each_event_is_told_once() {
        let mut outage = Outage::default();
        let mut told = |event: fn(&mut Outage) -> Option<Event>, times: usize| -> Vec<Event> {
            (0..times).filter_map(|_| event(&mut outage)).collect()
        };
        assert_eq!(told(Outage::opened, 32), [Event::Met]);
        assert_eq!(told(Outage::settled, 1), []);
        for _ in 0..2 {
            assert_eq!(told(Outage::lost, 32), [Event::Lost]);
            assert_eq!(told(Outage::unreachable, 320), [Event::Unreachable]);
            // Some come back sooner than others, and one is lost once more.
            assert_eq!(told(Outage::opened, 20), []);
            assert_eq!(told(Outage::lost, 1), []);
            assert_eq!(told(Outage::opened, 13), []);
            assert_eq!(told(Outage::settled, 1), [Event::MetAgain]);
        }
    }

    #[test]
    fn a_store_that_was_away_at_the_start_is_met_for_the_first_time() {
        let mut outage = Outage::default();
        assert_eq!(outage.unreachable(), Some(Event::Unreachable));
        assert_eq!(outage.opened(), None, "it may be lost again at once");
        assert_eq!(outage.settled(), Some(Event::Met));
        // What is wrong is told elsewhere, and the end here.
        outage.denied();
        assert_eq!(outage.settled(), Some(Event::MetAgain));
    }
}
