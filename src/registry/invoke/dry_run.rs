//! What a call would do, without doing it.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use onex_types::ids::NodeId;

use crate::protocol::{
    bounds::Open,
    error::{Error, ErrorCode},
    invoke::{
        Candidate, CandidateState, DryRunReply, InvokeRequest, Plan, Planned, Reason, refusal,
    },
};

use super::{
    Caller, Chosen, CompiledContract, Invoke, Part, attempts::ATTEMPTS_MAX, call::ToCall,
    choose::Considerations, load::Loads, look::Query, refuse,
};

/// All who offer the tool.
struct Shown {
    candidates: Vec<Candidate>,
    /// Where each of them is called.
    subjects: Vec<String>,
    /// How many there are.
    count: usize,
    /// What that is true for.
    revision: u64,
}

/// Who would be asked, if anybody, and who there is.
struct Would {
    chosen: Result<Chosen, Error>,
    shown: Shown,
}

/// Whether somebody listens on a subject; none where that is not known.
type Listens = BTreeMap<String, Option<bool>>;

impl Invoke {
    /// Says what a call would do.
    pub(super) async fn dry_run(
        &self,
        caller: &Caller,
        request: InvokeRequest,
    ) -> Result<DryRunReply, Error> {
        let ToCall {
            request, arguments, ..
        } = self.to_call(caller, request).await?;
        let (would, listens) = self.would(caller, &request).await?;
        let Shown {
            candidates,
            count: candidate_count,
            revision,
            ..
        } = would.shown;
        let (plan, violations, error) = match would.chosen {
            Ok(chosen) => {
                let contract = self.contract(&chosen, caller).await?;
                let checked = contract.violations(Part::Input, arguments, &self.contracts, caller);
                let (violations, _) = checked.await?;
                let bad = refuse::wrong_arguments(&chosen, &violations);
                let listens = listens.get(&chosen.subject).copied().flatten();
                let plan = plan(&chosen, &request, &contract, listens);
                (Some(plan), violations, bad)
            }
            Err(error) => (None, Vec::new(), Some(error)),
        };
        Ok(DryRunReply {
            status: Open::Known(Planned::DryRun),
            plan,
            candidates,
            candidate_count,
            violations,
            refusal: error.as_ref().map(|error| refusal(error.code)),
            refusal_message: error.map(|error| error.message),
            revision,
            ignored: Vec::new(),
        })
    }

    /// Who would be asked: whoever is chosen and listens, as a call finds out by asking.
    async fn would(
        &self,
        caller: &Caller,
        request: &InvokeRequest,
    ) -> Result<(Would, Listens), Error> {
        let mut without = BTreeMap::new();
        let mut listens = Listens::new();
        let mut would = self.first(caller, request, &without).await?;
        self.listening(&would.shown, &mut listens).await;
        let silent =
            |listens: &Listens, subject: &String| listens.get(subject) == Some(&Some(false));
        for _ in 0..ATTEMPTS_MAX {
            let Ok(chosen) = &would.chosen else { break };
            if !silent(&listens, &chosen.subject) {
                break;
            }
            without.insert(chosen.node_id.clone(), Reason::NoResponders);
            would = self.first(caller, request, &without).await?;
            // Others may step in.
            self.listening(&would.shown, &mut listens).await;
        }
        // A call asks no more than that, whoever there is.
        if let Ok(chosen) = &would.chosen
            && silent(&listens, &chosen.subject)
        {
            let message = format!(
                "nobody listens for node {} and those before it",
                chosen.node_id
            );
            would.chosen = Err(Error::new(ErrorCode::ProviderNotFound, message));
        }
        for (candidate, subject) in would.shown.would_do() {
            if silent(&listens, subject) {
                candidate.state = Open::Known(CandidateState::Out);
                candidate.reason = Some(Open::Known(Reason::NoResponders));
                candidate.message = Some(Reason::NoResponders.said().to_owned());
            }
        }
        Ok((would, listens))
    }

    /// Finds out for whom of those that would do somebody listens.
    async fn listening(&self, shown: &Shown, listens: &mut Listens) {
        let would_do = shown.candidates.iter().zip(&shown.subjects);
        let would_do = would_do.filter(|(candidate, _)| would_do_now(candidate));
        let subjects: BTreeSet<&String> = would_do.map(|(_, subject)| subject).collect();
        let unknown = subjects
            .into_iter()
            .filter(|one| !listens.contains_key(*one));
        let looks = unknown.map(async |subject| {
            let listens = self.probe.listens(subject).await;
            (subject.clone(), listens)
        });
        let looks = join_all(looks).await;
        listens.extend(looks);
    }

    /// Who would be asked first, of those that are not left out.
    async fn first(
        &self,
        caller: &Caller,
        request: &InvokeRequest,
        without: &BTreeMap<NodeId, Reason>,
    ) -> Result<Would, Error> {
        if !self.rights.known(caller.asking.until).await {
            return Err(refuse::rights_unknown());
        }
        let choice = request.choice();
        let query = Query {
            name: &request.tool_name,
            choice: &choice,
            without,
            calls: true,
        };
        let shown = |considered: &Considerations<'_>, revision| Shown {
            candidates: considered.candidates(),
            subjects: considered.subjects(),
            count: considered.count(),
            revision,
        };
        // Both of one look: another one could choose another.
        let looked = self.checked(caller, || {
            let then = |considered: &Considerations<'_>, revision, _: &mut Loads| {
                let now = self.clock.now().mono;
                let one = considered
                    .chosen()
                    .ok_or_else(|| considered.refusal(query.name, query.choice))?;
                let another = considered.has_another();
                let chosen = self.chosen(one, another, revision, now);
                Ok((chosen, shown(considered, revision)))
            };
            self.look(query, then)?
        });
        match looked.await {
            Ok((chosen, shown)) => Ok(Would {
                chosen: Ok(chosen),
                shown,
            }),
            Err(error) if error.code == ErrorCode::StoreUnavailable => Err(error),
            Err(error) => {
                let then = |considered: &Considerations<'_>, revision, _: &mut Loads| {
                    shown(considered, revision)
                };
                Ok(Would {
                    chosen: Err(error),
                    shown: self.look(query, then)?,
                })
            }
        }
    }
}

impl Shown {
    /// Those that would do, with where each is called.
    fn would_do(&mut self) -> impl Iterator<Item = (&mut Candidate, &String)> {
        let all = self.candidates.iter_mut().zip(&self.subjects);
        all.filter(|(candidate, _)| would_do_now(candidate))
    }
}

fn would_do_now(candidate: &Candidate) -> bool {
    candidate.state != Open::Known(CandidateState::Out)
}

fn plan(
    chosen: &Chosen,
    request: &InvokeRequest,
    contract: &CompiledContract,
    listens: Option<bool>,
) -> Plan {
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
