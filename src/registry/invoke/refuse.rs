//! Why nobody can be asked to run a tool.

use std::collections::BTreeSet;

use onex_types::ids::Token;

use crate::protocol::{
    error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
    invoke::{CANDIDATES_SHOWN_MAX, Choice, Offered, Reason},
    violation::Violation,
};

use super::Chosen;
use super::choose::{Considerations, Considered};

impl Considerations<'_> {
    /// Why nobody can be asked.
    pub(super) fn refusal(&self, name: &Token, choice: &Choice) -> Error {
        if self.all.is_empty() {
            let message = format!("no live node offers a tool by the name {name}");
            return Error::no_tool(name, message);
        }
        let out_for = |reason| self.all.iter().filter(move |one| one.out == Some(reason));
        if let Some(full) = out_for(Reason::AtBound).next() {
            return full.busy("and no more may wait for it");
        }
        if let Some(hash) = choice.contract_hash.as_ref()
            && !self.all.iter().any(|one| one.tool.contract_hash == *hash)
        {
            return self.changed(name, hash);
        }
        if let Some(error) = self.forbidden(name) {
            return error;
        }
        let mut error = Error::new(ErrorCode::ProviderNotFound, self.why(name, choice))
            .with("tool_name", name.as_str())
            .with("candidates", serde_json::json!(self.candidates()));
        if let Some(node_id) = &choice.provider_node_id {
            error = error.with("node_id", node_id.as_str());
        }
        let open = out_for(Reason::CircuitOpen).filter_map(|one| one.load.open);
        error.retry_after_ms = open.min().map(|millis| millis.max(BUSY_RETRY_MILLIS));
        error
    }

    /// Where the registry might call somebody if it were allowed to.
    fn forbidden(&self, name: &Token) -> Option<Error> {
        let passing = |one: &Considered<'_>| {
            matches!(
                one.out,
                Some(
                    Reason::CircuitOpen
                        | Reason::NoResponders
                        | Reason::Declined
                        | Reason::Silent
                        | Reason::Gone
                )
            )
        };
        let one = self.all.iter().find(|one| one.out == Some(Reason::Subject));
        let one = one.filter(|_| !self.all.iter().any(passing))?;
        let message = format!(
            "this registry may not call {name} of node {}: its subject is {}, and --tool-subjects, with which the \
             registry was started, does not name that; nothing was called",
            one.node.node_id, one.tool.subject,
        );
        Some(Error::forbidden("tool_subject", one.node.node_id, message))
    }

    fn changed(&self, name: &Token, hash: &str) -> Error {
        let offered: BTreeSet<Offered> = self
            .all
            .iter()
            .map(|one| Offered {
                tool_version: one.tool.version.clone(),
                contract_hash: one.tool.contract_hash.clone(),
            })
            .collect();
        let offered: Vec<Offered> = offered
            .into_iter()
            .rev()
            .take(CANDIDATES_SHOWN_MAX)
            .collect();
        let message = format!(
            "nobody offers {name} under the contract {hash} any more: see what it is now, and generate the caller anew"
        );
        Error::new(ErrorCode::ContractChanged, message)
            .with("contract_hash", hash)
            .with("offered", serde_json::json!(offered))
    }

    /// The reasons, each once.
    fn why(&self, name: &Token, choice: &Choice) -> String {
        let pinned = choice.provider_node_id.as_ref();
        if let Some(node_id) =
            pinned.filter(|id| !self.all.iter().any(|one| one.node.node_id == *id))
        {
            return format!(
                "node {node_id} does not offer {name}, or does not live; other nodes do"
            );
        }
        let mut reasons: Vec<&str> = Vec::new();
        for one in &self.all {
            if pinned.is_some() && one.out == Some(Reason::NotPinned) {
                continue;
            }
            if let Some(reason) = one.out.map(Reason::said)
                && !reasons.contains(&reason)
            {
                reasons.push(reason);
            }
        }
        let reasons = reasons.join("; ");
        match pinned {
            Some(node_id) => format!("node {node_id} cannot be asked for {name} now: {reasons}"),
            None => format!(
                "nobody who offers {name} can be asked now; of a node that offers it: {reasons}"
            ),
        }
    }
}

/// What is wrong with the arguments, if anything is.
pub(super) fn wrong_arguments(chosen: &Chosen, violations: &[Violation]) -> Option<Error> {
    let first = violations.first()?;
    let message = format!(
        "the arguments are not as the contract of {} {} says: {first}",
        chosen.tool_name, chosen.tool_version
    );
    let error = Error::new(ErrorCode::InvalidArguments, message);
    Some(error.with("violations", serde_json::json!(violations)))
}

/// The call cannot be made now: nothing was sent to anybody.
/// The connection was lost, and the server has not said since what the registry may call.
pub(super) fn rights_unknown() -> Error {
    busy("the NATS server has not said yet what this registry may call; nothing was called")
}

pub(super) fn busy(message: impl Into<String>) -> Error {
    let error = Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS);
    error.with("executed", false)
}

impl Considered<'_> {
    /// It has no room, and that; nothing was called.
    pub(super) fn busy(&self, more: &str) -> Error {
        let message = format!(
            "node {} has {} calls of {} under way, as many as a provider may have, {more}; nothing was called",
            self.node.node_id, self.load.own, self.tool.name,
        );
        busy(message)
    }
}
