//! What `details` of an error has, by its code.

use crate::{
    detail::{Detail, There},
    error::ErrorCode,
};

impl ErrorCode {
    /// The members that `details` has, and no others.
    #[expect(clippy::too_many_lines, reason = "one table")]
    pub fn details(self) -> &'static [(Detail, There)] {
        use There::{Always, Sometimes};
        match self {
            Self::InvalidRequest => &[
                (Detail::Pointer, Sometimes),
                (Detail::Header, Sometimes),
                (Detail::Nearest, Sometimes),
                (Detail::Limit, Sometimes),
                (Detail::Help, Sometimes),
            ],
            Self::Conflict => &[
                (Detail::Host, Sometimes),
                (Detail::PresentRevision, Sometimes),
                (Detail::LeaseId, Sometimes),
                (Detail::Port, Sometimes),
                (Detail::NodeId, Sometimes),
            ],
            Self::PoolNotFound => &[(Detail::Host, Always)],
            Self::ResourceExhausted => &[
                (Detail::Host, Always),
                (Detail::Capacity, Sometimes),
                (Detail::Held, Sometimes),
                (Detail::Resting, Sometimes),
                (Detail::Quarantined, Sometimes),
                (Detail::Next, Sometimes),
            ],
            Self::PortUnavailable => &[
                (Detail::Port, Always),
                (Detail::State, Always),
                (Detail::RequesterId, Sometimes),
                (Detail::Name, Sometimes),
                (Detail::NodeId, Sometimes),
                (Detail::Holder, Sometimes),
                (Detail::ExpiresInMs, Sometimes),
                (Detail::InUse, Sometimes),
            ],
            Self::StoreChanged => &[(Detail::Pointer, Always)],
            Self::TooLarge => &[
                (Detail::Limit, Always),
                (Detail::NodeId, Sometimes),
                (Detail::Executed, Sometimes),
                (Detail::ExecutionId, Sometimes),
                (Detail::ProviderNodeId, Sometimes),
                (Detail::ToolName, Sometimes),
                (Detail::Asked, Sometimes),
            ],
            Self::InvalidArguments => &[(Detail::Violations, Always)],
            Self::ProviderNotFound => &[
                (Detail::ToolName, Always),
                (Detail::NodeId, Sometimes),
                (Detail::Candidates, Always),
                (Detail::Asked, Sometimes),
            ],
            Self::ContractChanged => &[(Detail::ContractHash, Always), (Detail::Offered, Always)],
            Self::ToolError => &[
                (Detail::Executed, Always),
                (Detail::ExecutionId, Always),
                (Detail::ProviderNodeId, Always),
                (Detail::ToolName, Always),
                (Detail::ProviderCode, Always),
                (Detail::ProviderMessage, Always),
                (Detail::ProviderBody, Sometimes),
                (Detail::Asked, Always),
            ],
            Self::InvalidResult => &[
                (Detail::Executed, Always),
                (Detail::ExecutionId, Always),
                (Detail::ProviderNodeId, Always),
                (Detail::ToolName, Always),
                (Detail::Violations, Always),
                (Detail::ProviderBody, Sometimes),
                (Detail::Asked, Always),
            ],
            Self::ToolTimeout => &[
                (Detail::Executed, Always),
                (Detail::ExecutionId, Always),
                (Detail::ProviderNodeId, Always),
                (Detail::ToolName, Always),
                (Detail::Asked, Sometimes),
            ],
            Self::Busy => &[(Detail::Asked, Sometimes), (Detail::Executed, Sometimes)],
            Self::LimitExceeded => &[(Detail::Limit, Always), (Detail::Bound, Always)],
            Self::Stale => &[(Detail::Revision, Always)],
            Self::StoreUnavailable => &[(Detail::Outcome, Always)],
            Self::Forbidden => &[(Detail::Reason, Always), (Detail::NodeId, Always)],
            Self::NotHolder => &[
                (Detail::LeaseId, Sometimes),
                (Detail::Port, Sometimes),
                (Detail::NodeId, Sometimes),
                (Detail::RequesterId, Sometimes),
                (Detail::Name, Sometimes),
                (Detail::Holder, Sometimes),
                (Detail::ExpiresInMs, Sometimes),
                (Detail::BusId, Sometimes),
                (Detail::Epoch, Sometimes),
                (Detail::Pointer, Sometimes),
            ],
            Self::Superseded => &[
                (Detail::NodeId, Always),
                (Detail::Epoch, Always),
                (Detail::AdminReason, Sometimes),
            ],
            Self::LeaseNotFound => &[
                (Detail::LeaseId, Sometimes),
                (Detail::Port, Sometimes),
                (Detail::Host, Sometimes),
                (Detail::Pointer, Sometimes),
            ],
            Self::LeaseExpired => &[
                (Detail::LeaseId, Always),
                (Detail::Port, Always),
                (Detail::AdminReason, Sometimes),
                (Detail::Pointer, Sometimes),
            ],
            Self::SchemaNotFound => &[(Detail::Name, Always), (Detail::Nearest, Sometimes)],
            Self::NodeNotFound => &[(Detail::NodeId, Always)],
            Self::ToolNotFound => &[(Detail::ToolName, Always), (Detail::NodeId, Sometimes)],
            Self::BusNotFound => &[(Detail::BusId, Always)],
            Self::IdempotencyMismatch => &[(Detail::RequestId, Always)],
            Self::Internal => &[],
        }
    }
}
