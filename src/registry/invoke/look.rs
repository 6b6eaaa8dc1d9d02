//! Looks who can be asked, and keeps the place of whoever is.

use std::collections::BTreeMap;

use onex_types::{
    ids::{NodeId, Token},
    time::MonoMillis,
};
use uuid::Uuid;

use crate::protocol::{
    error::Error,
    invoke::{Choice, Reason},
};

use super::{
    Chosen, Invoke,
    choose::{Considerations, Considered, Field},
    load::Loads,
    provider::Provider,
    queue::WaiterId,
    under_way::{UnderWay, Waits},
};

/// Who is looked for.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) name: &'a Token,
    pub(super) choice: &'a Choice,
    /// Who did not do, and why.
    pub(super) without: &'a BTreeMap<NodeId, Reason>,
    /// Whether it is the registry that calls.
    pub(super) calls: bool,
}

/// What came of looking for somebody to ask.
pub(super) enum Found {
    /// It counts as under way from now on.
    Begun(Box<Chosen>, UnderWay),
    /// Nobody has room: the call waits. The error is for when it has waited in vain.
    Full(Error),
}

impl Invoke {
    /// Looks who would be asked.
    pub(super) fn look<R>(
        &self,
        query: Query<'_>,
        then: impl FnOnce(&Considerations<'_>, u64, &mut Loads) -> R,
    ) -> Result<R, Error> {
        self.look_again(query, None, then)
    }

    /// The same for a call that may have waited.
    fn look_again<R>(
        &self,
        query: Query<'_>,
        waited: Option<(WaiterId, Option<Provider>)>,
        then: impl FnOnce(&Considerations<'_>, u64, &mut Loads) -> R,
    ) -> Result<R, Error> {
        let random = Uuid::new_v4().as_u64_pair().1;
        let now = self.clock.now().mono;
        let callable = self.rights.callable();
        let narrowed = query.calls && callable.narrow();
        self.read(|state| {
            let mut loads = self.loads.lock();
            let field = Field {
                state,
                loads: &loads,
                now,
                provider_max: self.loads.provider_max,
                queue_max: self.queue_max,
                callable: narrowed.then_some((&self.namespace, callable)),
                waited,
            };
            let considered = field.consider(query.name, query.choice, query.without, random);
            then(&considered, state.revision(), &mut loads)
        })
    }

    /// Keeps the place of whoever is asked; where nobody has room the call waits from now on, in `waits`.
    pub(super) fn begin(
        &self,
        query: Query<'_>,
        waits: &mut Option<Waits>,
    ) -> Result<Found, Error> {
        let waited = waits
            .as_ref()
            .map(|waits| (waits.waiter, waits.given.clone()));
        self.look_again(query, waited, |considered, revision, loads| {
            let one = considered
                .chosen()
                .ok_or_else(|| considered.refusal(query.name, query.choice))?;
            if one.waits {
                let at = considered.waited_for();
                match waits {
                    Some(waits) => waits.wait_again(at, loads),
                    None => *waits = Some(self.loads.wait(at, loads)),
                }
                return Ok(Found::Full(one.busy("and none of them ended in time")));
            }
            let now = self.clock.now().mono;
            let chosen = self.chosen(one, considered.has_another(), revision, now);
            let under_way = self.loads.begin(&one.provider, loads);
            if let Some(waits) = waits {
                waits.leave(loads);
            }
            Ok(Found::Begun(Box::new(chosen), under_way))
        })?
    }

    pub(super) fn chosen(
        &self,
        one: &Considered<'_>,
        has_another: bool,
        revision: u64,
        now: MonoMillis,
    ) -> Chosen {
        let compiled = self.compiled.get(&one.tool.contract_hash);
        Chosen {
            node_id: one.node.node_id.clone(),
            announced_by: one.node.live.requester_id,
            tool_name: one.tool.name.clone(),
            tool_version: one.tool.version.clone(),
            contract_hash: one.tool.contract_hash.clone(),
            subject: one.tool.subject.clone(),
            expires_in_ms: one.node.left(now),
            attempt_timeout_ms: one.tool.attempt_timeout_ms(),
            contract: compiled.ok_or_else(|| Box::new(one.tool.clone())),
            has_another,
            revision,
        }
    }
}
