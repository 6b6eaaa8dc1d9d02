//! What validators say of nodes, and what follows from it.

use serde::{Deserialize, Serialize};

pub use onex_core::trust::{
    CONTRACTS_KEPT_MAX, Lifecycle, OnContract, Outcome, REPORTS_REMEMBERED, Trust, TrustState,
    VALIDATORS_MAX, VERIFIED_VERDICTS_MIN, Verdict, Verdicts, score,
};

/// What one `verdict.<node>` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdicts.
    pub verdicts: Verdicts,
}
