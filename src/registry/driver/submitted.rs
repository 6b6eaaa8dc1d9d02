//! Commands on their way to the engine.

use onex_core::command::Command;
use onex_types::time::MonoMillis;

/// A command on its way to the engine.
pub(in crate::registry) struct Submitted<T> {
    /// Who waits for its outcome; none when nobody does.
    pub(in crate::registry) waiter: Option<T>,
    /// What to do.
    pub(in crate::registry) command: Command,
    /// After this nobody decides it any more.
    pub(in crate::registry) deadline: MonoMillis,
}
