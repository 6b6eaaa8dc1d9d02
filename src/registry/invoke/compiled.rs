//! Contracts that were compiled, kept for the next call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use onex_types::ids::RequesterId;
use tokio::sync::Semaphore;

use crate::{
    contract::{
        self, Contract, ToolRules,
        validator::{VALIDATION_STEPS_LIGHT, VALIDATION_STEPS_QUICK, Validator, Weight},
    },
    protocol::{
        error::{Error, ErrorCode},
        json::Document,
        tool::Tool,
        violation::Violation,
    },
};

use super::super::{
    contracts::{Check, Contracts, in_time},
    queries,
};
use super::Caller;

/// Contracts that are kept; of more those that were not used for the longest time go.
const CONTRACTS_KEPT_MAX: usize = 1_024;

/// A contract as calls need it.
pub(super) struct CompiledContract {
    pub(super) schemas: Contract,
    /// Whether calling the tool twice does no more than calling it once.
    pub(super) idempotent: bool,
}

/// Compiled contracts, by their hash.
#[derive(Default)]
pub(super) struct CompiledContracts {
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    by_hash: HashMap<String, (u64, Arc<CompiledContract>)>,
    uses: u64,
    /// Those that are being compiled: by whom they are waited for.
    compiling: HashMap<String, Weak<Semaphore>>,
}

impl CompiledContracts {
    /// Compiles the tool's contract away from the threads that serve, once for all who wait for it.
    pub(super) async fn get_or_compile(
        self: &Arc<Self>,
        tool: &onex_core::node::Tool,
        announced_by: RequesterId,
        contracts: &Contracts,
        caller: &Caller,
    ) -> Result<Arc<CompiledContract>, Error> {
        let hash = tool.contract_hash.clone();
        let turn = in_time(caller.asking.until, self.turn(&hash).acquire_owned()).await?;
        if let Some(compiled) = self.get(&hash) {
            return Ok(compiled);
        }
        let announced = queries::announced(tool).ok_or_else(unreadable)?;
        let weight = contract::weight(std::slice::from_ref(&announced));
        let what = Check::Compilation(weight, announced_by);
        let this = Arc::clone(self);
        let compile = move |_: ToolRules<'_>| {
            let compiled = Arc::new(compile(&announced)?);
            // Also when nobody waits for it any more: somebody will ask again.
            this.insert(hash, &compiled);
            drop(turn);
            Ok(compiled)
        };
        contracts.check(what, caller.asking, compile).await
    }

    /// Given to one at a time of those who want that contract compiled.
    fn turn(&self, hash: &str) -> Arc<Semaphore> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = cache.compiling.get(hash).and_then(Weak::upgrade) {
            return turn;
        }
        cache.compiling.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Semaphore::new(1));
        cache
            .compiling
            .insert(hash.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// One that was compiled before.
    pub(super) fn get(&self, hash: &str) -> Option<Arc<CompiledContract>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let uses = cache.uses;
        let (used, compiled) = cache.by_hash.get_mut(hash)?;
        *used = uses;
        Some(Arc::clone(compiled))
    }

    fn insert(&self, hash: String, compiled: &Arc<CompiledContract>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.by_hash.len() >= CONTRACTS_KEPT_MAX {
            let oldest = cache.by_hash.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(hash, _)| hash.clone()) {
                cache.by_hash.remove(&oldest);
            }
        }
        let uses = cache.uses;
        cache.by_hash.insert(hash, (uses, Arc::clone(compiled)));
    }
}

fn compile(tool: &Tool) -> Result<CompiledContract, Error> {
    // It was checked when it was announced: what does not compile now is no fault of the caller's.
    let schemas = contract::compile(tool).map_err(|_| unreadable())?;
    Ok(CompiledContract {
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

impl CompiledContract {
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
