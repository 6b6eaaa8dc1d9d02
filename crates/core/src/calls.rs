//! What the state says of calls and executions.

use std::sync::Arc;

use onex_types::ids::{ExecutionId, NodeId, RequestId};

use crate::{
    call::{CallOutcome, CallStatus},
    execution::{Call, Counts, Run},
    key::Key,
    state::State,
};

impl State {
    /// The call of that request id, while it is remembered.
    pub fn call(&self, id: RequestId) -> Option<&Arc<Call>> {
        self.slot(&Key::Call(id))?.record.call()
    }

    /// The execution without a request id, while it is under way.
    pub fn run(&self, id: ExecutionId) -> Option<&Arc<Run>> {
        self.slot(&Key::Run(id))?.record.run()
    }

    /// How many executions of that node's tools have ended; none while there were none.
    pub fn counts(&self, node_id: &NodeId) -> Option<&Arc<Counts>> {
        self.slot(&Key::Exec(node_id.clone()))?.record.counts()
    }

    /// How it stands with an execution of a call, for who has seen it begin. One that another execution has followed, or
    /// that is forgotten, ended with an unknown outcome.
    pub fn call_status(&self, id: RequestId, execution_id: ExecutionId) -> CallStatus {
        let call = self.call(id);
        let same = call.filter(|call| call.run.execution.execution_id == execution_id);
        match same.map(|call| call.outcome()) {
            Some(None) => CallStatus::Running,
            Some(Some(outcome)) => CallStatus::Ended(outcome.clone()),
            None => CallStatus::Ended(CallOutcome::Unknown),
        }
    }
}
