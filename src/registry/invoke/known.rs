//! Contracts that were compiled, kept for the next call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    domain,
    protocol::{
        contract::{self, Contract, ToolRules},
        error::{Error, ErrorCode},
        json::Document,
        tool::Tool,
        validator::{Validator, Violation},
    },
};

use super::super::{contracts::Contracts, queries, requests::Caller};

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
}

impl KnownContracts {
    /// Compiles the tool's contract away from the threads that serve.
    pub(super) async fn learn(
        &self,
        tool: &domain::node::Tool,
        contracts: &Contracts,
        caller: &Caller,
    ) -> Result<Arc<Known>, Error> {
        let announced = queries::announced(tool).ok_or_else(unreadable)?;
        let known = contracts.check(caller, move |_: ToolRules<'_>| compile(&announced));
        let known = Arc::new(known.await?);
        self.keep(tool.contract_hash.clone(), &known);
        Ok(known)
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
        if self.part(part).is_quick(&document) {
            return Ok((self.part(part).violations(&document), document));
        }
        let this = Arc::clone(self);
        let check = move |_: ToolRules<'_>| {
            let violations = this.part(part).violations(&document);
            Ok((violations, document))
        };
        contracts.check(caller, check).await
    }
}
