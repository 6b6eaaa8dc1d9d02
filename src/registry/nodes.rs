//! From a parsed request to commands, and from their outcomes to a reply: nodes and their tools.

use std::sync::Arc;

use onex_core::node_command::Register;

use crate::{
    domain::{
        command::{Action, Announce, Answer, Claim, Known},
        ids::NodeId,
        index::Index,
        node::Tool,
        nodes::Seen,
        time::Moment,
    },
    protocol::{
        bounds::Open,
        contract::{self, ToolRules, below},
        endpoint::Endpoint,
        error::{Error, ErrorCode},
        node::{RegisterReply, RegisterRequest, RegisterStatus},
        node_life::{
            DeregisterReply, DeregisterRequest, HEARTBEAT_AFTER_PART, HeartbeatReply,
            HeartbeatRequest, NodeEnd,
        },
        tool::{ToolChangeReply, ToolDeregisterRequest, ToolRegisterRequest, ToolStatus},
        warning::Warning,
    },
};

use super::{
    announce,
    commit::Commit,
    contracts::{Check, Contracts},
    queries::{FirstCore, collisions},
    requests::{Caller, named},
};

impl Commit {
    pub(super) async fn register(
        self: &Arc<Self>,
        caller: &Caller,
        request: RegisterRequest,
        contracts: &Contracts,
    ) -> Result<RegisterReply, Error> {
        let (ttl_max, registry_id) = self.mirror.with(|core| {
            let policy = &core.index.policy;
            (policy.ttl_max, policy.registry_id)
        });
        let what = Check::Announcement(contract::weight(&request.tools));
        let mut said = request.warnings();
        let check = move |rules: ToolRules<'_>| {
            let named = named(Endpoint::NodeRegister, request.request_id, &request);
            announce::announce(request, ttl_max, named, rules)
        };
        let Register {
            node_id,
            requester_id,
            epoch,
            ttl,
            mut registration,
            request,
        } = contracts.check(what, caller.asking(), check).await?;
        let host = &mut registration.host;
        *host = host.take().map(|host| self.meant(host)).transpose()?;
        let announce = Announce {
            node_id,
            requester_id,
            epoch,
            chosen: None,
            ttl,
            registration: registration.clone(),
            request,
        };
        let known = self
            .node(caller, Action::Announce(Box::new(announce)))
            .await?;
        contracts.wait_for_rights(caller.until).await;
        Ok(self.mirror.with(|core| {
            let (index, now) = (&core.index, self.clock.now().mono);
            let verdicts = index.nodes.verdicts(&known.node_id);
            let trust = verdicts
                .cloned()
                .unwrap_or_default()
                .trust(&registration.contract_hash);
            let left = left(&known, now);
            let catalog = FirstCore { index, now };
            said.extend(warnings(
                catalog,
                contracts,
                &known.node_id,
                &registration.tools,
            ));
            RegisterReply {
                status: RegisterStatus::Accepted,
                registry_id,
                trust_state: Open::Known(trust.state.into()),
                ttl: known.live.ttl,
                epoch: known.live.epoch,
                expires_in_ms: left,
                heartbeat_after_ms: left / HEARTBEAT_AFTER_PART,
                warnings: said,
                revision: revision(index, &known),
                ignored: Vec::new(),
                node_id: known.node_id,
            }
        }))
    }

    pub(super) async fn node_heartbeat(
        self: &Arc<Self>,
        caller: &Caller,
        request: HeartbeatRequest,
    ) -> Result<HeartbeatReply, Error> {
        let action = Action::Beat {
            of: Claim {
                node_id: request.node_id,
                requester_id: request.requester_id,
                epoch: request.epoch,
            },
            ttl: request.ttl,
            health: request.health,
        };
        let known = self.node(caller, action).await?;
        Ok(self.mirror.with(|core| {
            let left = left(&known, self.clock.now().mono);
            HeartbeatReply {
                expires_in_ms: left,
                heartbeat_after_ms: left / HEARTBEAT_AFTER_PART,
                revision: revision(&core.index, &known),
                ignored: Vec::new(),
                node_id: known.node_id,
            }
        }))
    }

    pub(super) async fn deregister(
        self: &Arc<Self>,
        caller: &Caller,
        request: DeregisterRequest,
    ) -> Result<DeregisterReply, Error> {
        let claim = Claim {
            node_id: request.node_id,
            requester_id: request.requester_id,
            epoch: request.epoch,
        };
        let known = self.node(caller, Action::Leave(claim)).await?;
        let ended = known.live.ended.ok_or_else(wrong)?;
        Ok(self.mirror.with(|core| DeregisterReply {
            epoch: known.live.epoch,
            status: NodeEnd::Deregistered,
            ended_at: ended.at,
            revision: revision(&core.index, &known),
            ignored: Vec::new(),
            node_id: known.node_id,
        }))
    }

    pub(super) async fn register_tool(
        self: &Arc<Self>,
        caller: &Caller,
        request: ToolRegisterRequest,
        contracts: &Contracts,
    ) -> Result<ToolChangeReply, Error> {
        let weight = contract::weight(std::slice::from_ref(&request.tool));
        let what = Check::Announcement(weight);
        let check = move |rules: ToolRules<'_>| {
            let named = named(Endpoint::ToolRegister, request.request_id, &request);
            let tool = announce::tool(&request.tool, &request.node_id, rules);
            let tool = tool.map_err(|error| below("/tool", error))?;
            Ok((request, tool, named))
        };
        let (request, tool, named) = contracts.check(what, caller.asking(), check).await?;
        let action = Action::AddTool {
            of: Claim {
                node_id: request.node_id.clone(),
                requester_id: request.requester_id,
                epoch: request.epoch,
            },
            tool: Box::new(tool.clone()),
            request: named,
        };
        self.done(caller, action).await?;
        contracts.wait_for_rights(caller.until).await;
        let now = self.clock.now().mono;
        Ok(self.mirror.with(|core| ToolChangeReply {
            name: tool.name.clone(),
            version: Some(tool.version.clone()),
            contract_hash: Some(tool.contract_hash.clone()),
            status: ToolStatus::Accepted,
            warnings: warnings(
                FirstCore {
                    index: &core.index,
                    now,
                },
                contracts,
                &request.node_id,
                std::slice::from_ref(&tool),
            ),
            revision: core.index.applied().wire(core.index.lineage()),
            ignored: Vec::new(),
            node_id: request.node_id,
        }))
    }

    pub(super) async fn deregister_tool(
        self: &Arc<Self>,
        caller: &Caller,
        request: ToolDeregisterRequest,
    ) -> Result<ToolChangeReply, Error> {
        let named = named(Endpoint::ToolDeregister, request.request_id, &request);
        let hash = self.mirror.with(|core| {
            let seen = core
                .index
                .nodes
                .seen(&request.node_id)
                .filter(Seen::is_live)?;
            let version = request.version.as_ref()?;
            let tool = seen.node.registration.tool(&request.name, version)?;
            Some(tool.contract_hash.clone())
        });
        let action = Action::RemoveTool {
            of: Claim {
                node_id: request.node_id.clone(),
                requester_id: request.requester_id,
                epoch: request.epoch,
            },
            name: request.name.clone(),
            version: request.version.clone(),
            request: named,
        };
        self.done(caller, action).await?;
        Ok(self.mirror.with(|core| ToolChangeReply {
            node_id: request.node_id,
            name: request.name,
            version: request.version,
            contract_hash: hash,
            status: ToolStatus::Removed,
            warnings: Vec::new(),
            revision: core.index.applied().wire(core.index.lineage()),
            ignored: Vec::new(),
        }))
    }

    async fn node(self: &Arc<Self>, caller: &Caller, action: Action) -> Result<Known, Error> {
        match self.run(caller, action).await? {
            Answer::Node(known) => Ok(*known),
            Answer::Lease(_)
            | Answer::Ended { .. }
            | Answer::Execution { .. }
            | Answer::Done(_)
            | Answer::Nothing => Err(wrong()),
        }
    }

    /// Runs a command whose answer is that it is done.
    pub(super) async fn done(
        self: &Arc<Self>,
        caller: &Caller,
        action: Action,
    ) -> Result<(), Error> {
        match self.run(caller, action).await? {
            Answer::Done(_) => Ok(()),
            Answer::Lease(_)
            | Answer::Ended { .. }
            | Answer::Node(_)
            | Answer::Execution { .. }
            | Answer::Nothing => Err(wrong()),
        }
    }
}

/// What is worth a look about the tools that a node announces.
fn warnings(
    catalog: FirstCore<'_>,
    contracts: &Contracts,
    node: &NodeId,
    tools: &[Tool],
) -> Vec<Warning> {
    let mut warnings = collisions(catalog, node, tools);
    warnings.extend(contracts.warn_of_uncallable(node, tools));
    warnings
}

fn left(known: &Known, now: Moment) -> u64 {
    let ttl = known.live.ttl.millis();
    ttl.saturating_sub(now.since(known.since))
}

/// What an answer about a node is true for: its own revision, or how far the index is, if that is later.
fn revision(index: &Index, known: &Known) -> u64 {
    index.applied().max(known.revision).wire(index.lineage())
}

fn wrong() -> Error {
    Error::new(
        ErrorCode::Internal,
        "a command was answered as another one would be",
    )
}
