//! Saying something once in a while that would otherwise be said thousands of times a second.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long nothing is said after something was.
const SILENCE: Duration = Duration::from_secs(10);

/// One kind of thing to say.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it may be said now.
    pub(super) fn may(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() >= SILENCE);
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once() {
        let seldom = Seldom::default();
        assert!(seldom.may());
        assert!(!seldom.may());
    }
}
