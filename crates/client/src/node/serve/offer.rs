//! A tool with what does its work.

use std::{
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{FutureExt as _, future::BoxFuture};
use onex_contract::{
    Contract,
    canonical::contract_hash,
    validator::{VALIDATION_STEPS_QUICK, Validator},
};
use onex_protocol::{
    error::Error,
    json::{Document, JsonText},
    provide::{self, Fault},
    tool::Tool,
    violation::Violation,
};
use onex_types::ids::Token;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;

use super::{Call, Failure};

/// What a handler gave; or why it was not begun.
type Handled = Result<Result<JsonText, Failure>, Fault>;
type Handler = Box<dyn Fn(&JsonText, Call) -> BoxFuture<'static, Handled> + Send + Sync>;

/// A tool that this program serves.
pub(in crate::node) struct Offer {
    pub(super) tool: Tool,
    pub(super) hash: String,
    contract: Arc<Contract>,
    handler: Handler,
    /// Calls that may be under way.
    pub(super) slots: Arc<Semaphore>,
    slots_max: usize,
    pub(super) counts: Counts,
}

/// What came of calls so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) without_reply: AtomicU64,
}

/// How many calls of a tool came to what, since the node was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Answered with a result.
    pub answered: u64,
    /// Answered with an error after the tool was begun.
    pub failed: u64,
    /// Answered with an error, and not begun: wrong arguments, or the bound reached.
    pub refused: u64,
    /// Given up because nobody waited any more.
    pub late: u64,
    /// Came without a subject to answer to, and not begun.
    pub without_reply: u64,
    /// Under way now.
    pub under_way: usize,
}

impl Offer {
    /// Compiles the contract: errors point into the tool.
    pub(in crate::node) fn new<A, R, F, W>(
        tool: Tool,
        at_once_max: usize,
        handler: F,
    ) -> Result<Self, Error>
    where
        A: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(A, Call) -> W + Send + Sync + 'static,
        W: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        Ok(Self {
            contract: Arc::new(onex_contract::compile(&tool)?),
            hash: contract_hash(&tool),
            handler: untyped(handler),
            slots: Arc::new(Semaphore::new(at_once_max)),
            slots_max: at_once_max,
            counts: Counts::default(),
            tool,
        })
    }

    /// Whether calls of the two could not be told apart: they are told by the subject, and versions by a header.
    pub(in crate::node) fn clashes(&self, other: &Self) -> bool {
        self.tool.name != other.tool.name
            && self.tool.subject.is_some()
            && self.tool.subject == other.tool.subject
    }

    pub(in crate::node) fn name(&self) -> &Token {
        &self.tool.name
    }

    /// Does it: checks the arguments, has the handler work, checks its result. A panic in there is an error like any
    /// other.
    pub(super) async fn execute(&self, body: &[u8], call: Call) -> Result<Vec<u8>, Fault> {
        let execution_id = call.execution_id().to_owned();
        let work = AssertUnwindSafe(self.checked(body, call)).catch_unwind();
        work.await.unwrap_or_else(|_| {
            let tool = self.tool.name.as_str();
            tracing::error!(tool, execution_id, "the handler of a tool has panicked");
            Err(Fault::internal(
                "the tool has failed; its node's log says why",
            ))
        })
    }

    async fn checked(&self, body: &[u8], call: Call) -> Result<Vec<u8>, Fault> {
        let refused = |violations: &[Violation]| Fault::invalid_arguments(violations);
        let read = provide::arguments(body).map_err(|violation| refused(&[violation]));
        let (arguments, document) = read?;
        let violations = self.violations(|contract| &contract.input, document).await;
        if !violations.is_empty() {
            return Err(refused(&violations));
        }
        let handled = (self.handler)(&arguments, call.clone()).await?;
        let result = handled.map_err(|failure| failure.into_fault(&self.tool, &call))?;
        let violations = match result.document() {
            Ok(document) => self.violations(|contract| &contract.output, document).await,
            Err(violation) => vec![violation],
        };
        if !violations.is_empty() {
            let (tool, execution_id) = (self.tool.name.as_str(), call.execution_id());
            tracing::error!(
                tool,
                execution_id,
                ?violations,
                "a tool breaks its own contract"
            );
            return Err(Fault::invalid_result(&violations));
        }
        Ok(result.text().to_owned().into_bytes())
    }

    /// What is wrong with a value. What takes long is done where it holds up nothing else, the node's own heartbeats
    /// first of all.
    async fn violations(
        &self,
        part: fn(&Contract) -> &Validator,
        document: Document,
    ) -> Vec<Violation> {
        if part(&self.contract).takes_at_most(VALIDATION_STEPS_QUICK, &document) {
            return part(&self.contract).violations(&document);
        }
        let contract = Arc::clone(&self.contract);
        let check = move || part(&contract).violations(&document);
        match tokio::task::spawn_blocking(check).await {
            Ok(violations) => violations,
            // Where one panics that is told like a panic of the handler; it is never cancelled.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    pub(super) fn calls(&self) -> Calls {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Calls {
            answered: of(&self.counts.answered),
            failed: of(&self.counts.failed),
            refused: of(&self.counts.refused),
            late: of(&self.counts.late),
            without_reply: of(&self.counts.without_reply),
            under_way: self.slots_max - self.slots.available_permits().min(self.slots_max),
        }
    }
}

impl Calls {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            answered: self.answered + other.answered,
            failed: self.failed + other.failed,
            refused: self.refused + other.refused,
            late: self.late + other.late,
            without_reply: self.without_reply + other.without_reply,
            under_way: self.under_way + other.under_way,
        }
    }
}

pub(super) fn count(one: &AtomicU64) {
    one.fetch_add(1, Ordering::Relaxed);
}

fn untyped<A, R, F, W>(handler: F) -> Handler
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize,
    F: Fn(A, Call) -> W + Send + Sync + 'static,
    W: Future<Output = Result<R, Failure>> + Send + 'static,
{
    Box::new(move |arguments, call| {
        let arguments = provide::read_as(arguments);
        let work = arguments.map(|arguments| handler(arguments, call));
        async move {
            let work = work.map_err(|violation| Fault::invalid_arguments(&[violation]))?;
            let result = work.await;
            Ok(result.and_then(|result| Ok(JsonText::of(&result)?)))
        }
        .boxed()
    })
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("tool", &self.tool)
            .finish_non_exhaustive()
    }
}
