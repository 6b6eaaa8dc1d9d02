//! Whom calls are counted for.

use onex_types::ids::{Incarnation, Token};

/// A tool of one life of a node.
pub(super) type Provider = (Incarnation, Token);
