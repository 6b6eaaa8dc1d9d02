//! What a node that is to be serves.

use std::{future::Future, sync::Arc, time::Duration};

use onex_contract::below;
use onex_protocol::tool::Tool;
use onex_types::ids::Invalid;
use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

use super::{super::NodeBuilder, CALLS_AT_ONCE_DEFAULT, CALLS_AT_ONCE_MAX, Call, Failure, Offer};

impl NodeBuilder {
    /// A tool that others may call, and what does its work: [`serve_at_most`](Self::serve_at_most), with up to
    /// [`CALLS_AT_ONCE_DEFAULT`] calls at the same time.
    ///
    /// ```no_run
    /// use onex_client::{
    ///     Call, Client, Failure, Node,
    ///     protocol::tool::Tool,
    /// };
    /// use schemars::JsonSchema;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct Divide {
    ///     dividend: f64,
    ///     divisor: f64,
    /// }
    ///
    /// #[derive(Serialize, JsonSchema)]
    /// struct Quotient {
    ///     quotient: f64,
    /// }
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let divide = Tool {
    ///     error_codes: vec!["DIVISION_BY_ZERO".parse()?],
    ///     idempotent: true,
    ///     ..Tool::of::<Divide, Quotient>("divide", "1.0.0")?
    /// };
    /// let node = Node::builder("calc")
    ///     .version("1.0.0")
    ///     .serve(divide, |args: Divide, _: Call| async move {
    ///         if args.divisor == 0.0 {
    ///             return Err(Failure::new("DIVISION_BY_ZERO", "the divisor is 0"));
    ///         }
    ///         Ok(Quotient { quotient: args.dividend / args.divisor })
    ///     })
    ///     .start(&client)
    ///     .await?;
    /// tokio::signal::ctrl_c().await?;
    /// node.deregister().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve<A, R, F, W>(self, tool: Tool, handler: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(A, Call) -> W + Send + Sync + 'static,
        W: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        self.serve_at_most(CALLS_AT_ONCE_DEFAULT, tool, handler)
    }

    /// A tool that others may call, and what does its work, for up to so many calls at the same time, 1 to
    /// [`CALLS_AT_ONCE_MAX`]. One more is refused at once with `BUSY`: whoever calls can ask another node sooner than
    /// it would come to its turn here.
    ///
    /// The handler gets arguments that are as the contract says, and its result is checked in the same way. While it
    /// waits it is dropped when the call's [deadline](Call::deadline) comes: what must be brought to an end belongs in
    /// a task of its own. It must not block; [`tokio::task::spawn_blocking`] is for that. If it panics, only this call
    /// fails.
    ///
    /// Calls are taken from just before the node is announced until its life is over, and again in the next one. Of
    /// several versions of a tool the one is called that the call names, else the newest.
    pub fn serve_at_most<A, R, F, W>(self, at_once_max: usize, tool: Tool, handler: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(A, Call) -> W + Send + Sync + 'static,
        W: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        self.with(|draft| {
            if !(1..=CALLS_AT_ONCE_MAX).contains(&at_once_max) {
                let message = format!("calls at once must be 1 to {CALLS_AT_ONCE_MAX}");
                return Err(Error::unfit("/tools", message));
            }
            let at = format!("/tools/{}", draft.plan.request.tools.len());
            let offer = Offer::new(tool.clone(), at_once_max, handler);
            let offer = offer.map_err(|error| Error::Unfit(below(&at, error)))?;
            if let Some(other) = draft.plan.offers.iter().find(|other| other.clashes(&offer)) {
                let message = format!("is that of the tool {} as well", other.name());
                return Err(Error::unfit(&(at + "/subject"), message));
            }
            draft.plan.offers.push(Arc::new(offer));
            draft.plan.request.tools.push(tool);
            Ok(())
        })
    }

    /// How long the node waits for calls that are under way when it takes leave, before it gives them up. Default
    /// [`DRAIN_DEFAULT`](crate::DRAIN_DEFAULT).
    pub fn drain(self, patience: Duration) -> Self {
        self.with(|draft| {
            draft.plan.drain = patience;
            Ok(())
        })
    }

    /// Answers callers whose inboxes begin with that as well: by default only `_INBOX.…` is answered, and a call with
    /// any other reply subject is not begun. For registries and callers that connect with an inbox prefix of their own.
    pub fn inbox_prefix(self, prefix: &str) -> Self {
        self.with(|draft| {
            let parsed = prefix.parse();
            let prefix = parsed.map_err(|Invalid(wrong)| {
                Error::unfit("", format!("the inbox prefix {prefix:?} {wrong}"))
            })?;
            draft.plan.inbox_prefixes.push(prefix);
            Ok(())
        })
    }
}
