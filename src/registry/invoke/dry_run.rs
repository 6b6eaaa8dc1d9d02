//! What a call would do, without doing it.

use std::collections::BTreeMap;

use crate::{
    domain::ids::NodeId,
    protocol::{
        bounds::Open,
        error::{Error, ErrorCode},
        invoke::{Candidate, DryRunReply, InvokeRequest, Plan, Planned, Reason, refusal},
    },
};

use super::{
    super::{requests::Caller, serve::Server},
    Chosen, Known, Part,
    attempts::ATTEMPTS_MAX,
    call::ToCall,
    choose::Considerations,
    load::Loads,
    look::Query,
    probe,
};

/// All who offer the tool, how many they are, and what that is true for.
type Shown = (Vec<Candidate>, usize, u64);

/// Who would be asked, if anybody, and who there is.
struct Would {
    chosen: Result<Chosen, Error>,
    /// Whether somebody listens there; none where that is not known.
    listens: Option<bool>,
    shown: Shown,
}

impl Server {
    /// Says what a call would do.
    pub(super) async fn dry_run(
        &self,
        caller: &Caller,
        request: InvokeRequest,
    ) -> Result<DryRunReply, Error> {
        let ToCall {
            request, arguments, ..
        } = self.to_call(caller, request).await?;
        let would = self.would(caller, &request).await?;
        let (candidates, candidate_count, revision) = would.shown;
        let (plan, violations, code) = match would.chosen {
            Ok(chosen) => {
                let contract = self.contract(&chosen, caller).await?;
                let checked = contract.violations(Part::Input, arguments, &self.contracts, caller);
                let (violations, _) = checked.await?;
                let bad = (!violations.is_empty()).then_some(ErrorCode::InvalidArguments);
                let plan = plan(&chosen, &request, &contract, would.listens);
                (Some(plan), violations, bad)
            }
            Err(error) => (None, Vec::new(), Some(error.code)),
        };
        Ok(DryRunReply {
            status: Open::Known(Planned::DryRun),
            plan,
            candidates,
            candidate_count,
            violations,
            refusal: code.map(refusal),
            revision,
            ignored: Vec::new(),
        })
    }

    /// Who would be asked: whoever is chosen and listens, as a call finds out by asking.
    async fn would(&self, caller: &Caller, request: &InvokeRequest) -> Result<Would, Error> {
        let mut without = BTreeMap::new();
        let mut would = self.first(caller, request, &without).await?;
        for _ in 0..ATTEMPTS_MAX {
            let Ok(chosen) = &would.chosen else { break };
            would.listens = probe::listens(&self.client, &chosen.subject).await;
            if would.listens != Some(false) {
                return Ok(would);
            }
            without.insert(chosen.node_id.clone(), Reason::NoResponders);
            would = self.first(caller, request, &without).await?;
        }
        // A call asks no more than that, whoever there is.
        if let Ok(chosen) = &would.chosen {
            let message = format!(
                "nobody listens for node {} and those before it",
                chosen.node_id
            );
            would.chosen = Err(Error::new(ErrorCode::ProviderNotFound, message));
        }
        Ok(would)
    }

    /// Who would be asked first, of those that are not left out.
    async fn first(
        &self,
        caller: &Caller,
        request: &InvokeRequest,
        without: &BTreeMap<NodeId, Reason>,
    ) -> Result<Would, Error> {
        let choice = request.choice();
        let query = Query {
            name: &request.tool_name,
            choice: &choice,
            without,
            calls: true,
        };
        let shown = |considered: &Considerations<'_>, revision| {
            (considered.candidates(), considered.count(), revision)
        };
        // Both of one look: another one could choose another.
        let looked = self.checked(caller, || {
            let then = |considered: &Considerations<'_>, revision, _: &mut Loads| {
                let now = self.commit.clock.now().mono;
                let one = considered
                    .chosen()
                    .ok_or_else(|| considered.refusal(query.name, query.choice))?;
                let another = considered.has_another();
                let chosen = self.invoke.chosen(one, another, revision, now);
                Ok((chosen, shown(considered, revision)))
            };
            self.invoke.look(&self.commit, query, then)
        });
        match looked.await {
            Ok((chosen, shown)) => Ok(Would {
                chosen: Ok(chosen),
                listens: None,
                shown,
            }),
            Err(error) if error.code == ErrorCode::StoreUnavailable => Err(error),
            Err(error) => {
                let then = |considered: &Considerations<'_>, revision, _: &mut Loads| {
                    shown(considered, revision)
                };
                Ok(Would {
                    chosen: Err(error),
                    listens: None,
                    shown: self.invoke.look(&self.commit, query, then),
                })
            }
        }
    }
}

fn plan(chosen: &Chosen, request: &InvokeRequest, contract: &Known, listens: Option<bool>) -> Plan {
    Plan {
        tool_name: chosen.tool_name.clone(),
        tool_version: chosen.tool_version.clone(),
        contract_hash: chosen.contract_hash.clone(),
        provider_node_id: chosen.node_id.clone(),
        subject: chosen.subject.clone(),
        listening: listens,
        node_selection_policy: Open::Known(request.node_selection_policy),
        timeout_ms: request.timeout_millis(),
        attempt_timeout_ms: chosen.attempt_millis(request),
        idempotent: contract.idempotent,
    }
}
