//! Contracts that were compiled, kept for the next call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use onex_types::ids::RequesterId;
use tokio::sync::Semaphore;

use crate::protocol::{
    contract::{self, Contract, ToolRules},
    error::{Error, ErrorCode},
    json::Document,
    tool::Tool,
    validator::{VALIDATION_STEPS_LIGHT, VALIDATION_STEPS_QUICK, Validator, Violation, Weight},
};

use super::super::{
    contracts::{Check, Contracts, in_time},
    queries,
};
use super::Caller;

/// Contracts that are kept; of more those that were not used for the longest time go.
const CONTRACTS_KEPT_MAX: usize = 1_024;

/// A contract as calls need it.
pub(super) struct Known {
    pub(super) schemas: Contract,
    /// Whether calling the tool twice does no more than calling it once.
    pub(super) idempotent: bool,
}

/// By their hash.
#[derive(Default)]
pub(super) struct KnownContracts {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_hash: HashMap<String, (u64, Arc<Known>)>,
    uses: u64,
    /// Those that are being compiled: by whom they are waited for.
    learning: HashMap<String, Weak<Semaphore>>,
}

impl KnownContracts {
    /// Compiles the tool's contract away from the threads that serve, once for all who wait for it.
    pub(super) async fn learn(
        self: &Arc<Self>,
        tool: &onex_core::node::Tool,
        announced_by: RequesterId,
        contracts: &Contracts,
        caller: &Caller,
    ) -> Result<Arc<Known>, Error> {
        let hash = tool.contract_hash.clone();
        let turn = in_time(caller.asking.until, self.turn(&hash).acquire_owned()).await?;
        if let Some(known) = self.get(&hash) {
            return Ok(known);
        }
        let announced = queries::announced(tool).ok_or_else(unreadable)?;
        let weight = contract::weight(std::slice::from_ref(&announced));
        let what = Check::Compilation(weight, announced_by);
        let this = Arc::clone(self);
        let compile = move |_: ToolRules<'_>| {
            let known = Arc::new(compile(&announced)?);
            // Also when nobody waits for it any more: somebody will ask again.
            this.keep(hash, &known);
            drop(turn);
            Ok(known)
        };
        contracts.check(what, caller.asking, compile).await
    }

    /// Given to one at a time of those who want that contract compiled.
    fn turn(&self, hash: &str) -> Arc<Semaphore> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = kept.learning.get(hash).and_then(Weak::upgrade) {
            return turn;
        }
        kept.learning.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Semaphore::new(1));
        kept.learning.insert(hash.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// One that was compiled before.
    pub(super) fn get(&self, hash: &str) -> Option<Arc<Known>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let uses = kept.uses;
        let (used, known) = kept.by_hash.get_mut(hash)?;
        *used = uses;
        Some(Arc::clone(known))
    }

    fn keep(&self, hash: String, known: &Arc<Known>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_hash.len() >= CONTRACTS_KEPT_MAX {
            let oldest = kept.by_hash.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(hash, _)| hash.clone()) {
                kept.by_hash.remove(&oldest);
            }
        }
        let uses = kept.uses;
        kept.by_hash.insert(hash, (uses, Arc::clone(known)));
    }
}

fn compile(tool: &Tool) -> Result<Known, Error> {
    // It was checked when it was announced: what does not compile now is no fault of the caller's.
    let schemas = contract::compile(tool).map_err(|_| unreadable())?;
    Ok(Known {
        schemas,
        idempotent: tool.idempotent,
    })
}

pub(super) fn unreadable() -> Error {
    Error::new(
        ErrorCode::Internal,
        "the tool's contract cannot be read as it is stored",
    )
}

/// Which of a contract's schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Input,
    Output,
}

impl Known {
    fn part(&self, part: Part) -> &Validator {
        match part {
            Part::Input => &self.schemas.input,
            Part::Output => &self.schemas.output,
        }
    }

    /// What is wrong with a document, and the document again. What takes long is done away from the threads that serve.
    pub(super) async fn violations(
        self: &Arc<Self>,
        part: Part,
        document: Document,
        contracts: &Contracts,
        caller: &Caller,
    ) -> Result<(Vec<Violation>, Document), Error> {
        let validator = self.part(part);
        if validator.takes_at_most(VALIDATION_STEPS_QUICK, &document) {
            return Ok((validator.violations(&document), document));
        }
        let this = Arc::clone(self);
        let check_if_light = move |_: ToolRules<'_>| {
            let validator = this.part(part);
            let is_light = validator.takes_at_most(VALIDATION_STEPS_LIGHT, &document);
            let violations = is_light.then(|| validator.violations(&document));
            Ok((violations, document))
        };
        let what = Check::Values(Weight::Light);
        let document = match contracts.check(what, caller.asking, check_if_light).await? {
            (Some(violations), document) => return Ok((violations, document)),
            (None, document) => document,
        };
        let this = Arc::clone(self);
        let check = move |_: ToolRules<'_>| {
            let violations = this.part(part).violations(&document);
            Ok((violations, document))
        };
        let what = Check::Values(Weight::Heavy);
        contracts.check(what, caller.asking, check).await
    }
}
