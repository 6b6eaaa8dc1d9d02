//! Tools: in lists, and one by one.

use std::collections::{BTreeMap, BTreeSet};

use onex_core::{node::Tool, trust::TrustState};
use onex_types::ids::{Name, NodeId, Token};
use semver::Version;

use crate::protocol::{
    bounds::{Open, parse_version},
    error::Error,
    port::Page,
    tool::{
        PROVIDERS_SHOWN_MAX, Provider, ToolDescribeReply, ToolDescribeRequest, ToolItem,
        ToolListRequest, VARIANTS_BYTES_MAX, VARIANTS_SHOWN_MAX, VERSIONS_SHOWN_MAX, Variant,
    },
};

use super::nodes::again;
use super::{
    Catalog, CatalogNode,
    page::{bad_cursor, cursor, page},
};

/// Between the version and the node of a cursor; neither has it.
const CURSOR_SEPARATOR: char = ':';

/// A tool as one node offers it.
type Offer<'a> = (CatalogNode<'a>, &'a Tool);

/// Tools of live nodes, a page of at most `limit`.
pub(in crate::registry) fn tools(
    catalog: Catalog<'_>,
    request: &ToolListRequest,
    limit: usize,
) -> Result<Page<ToolItem>, Error> {
    let after = cursor(request.cursor.as_deref(), |text| text.parse::<Token>().ok())?;
    let names: Box<dyn Iterator<Item = Token> + '_> = match &request.name {
        Some(name) if after.as_ref().is_none_or(|after| after < name) => {
            Box::new(std::iter::once(name.clone()))
        }
        Some(_) => Box::new(std::iter::empty()),
        None => Box::new(catalog.tool_names(after.as_ref()).cloned()),
    };
    let found = names.filter_map(|name| {
        let offers: Vec<Offer<'_>> = offers(catalog, &name)
            .filter(|(node, tool)| {
                request
                    .node_id
                    .as_ref()
                    .is_none_or(|wanted| node.node_id == wanted)
                    && request
                        .tag
                        .as_ref()
                        .is_none_or(|tag| tool.tags.contains(tag))
                    && request
                        .version
                        .as_ref()
                        .is_none_or(|range| range.matches(&tool.version))
            })
            .collect();
        (!offers.is_empty()).then(|| (name.to_string(), item(catalog, &name, &offers)))
    });
    Ok(page(catalog.revision(), found, limit))
}

/// What live nodes offer by that name.
fn offers<'a>(catalog: Catalog<'a>, name: &Token) -> impl Iterator<Item = Offer<'a>> {
    catalog.providers(name).flat_map(move |node| {
        let tools = node.registration.tools_named(name);
        tools.map(move |tool| (node, tool))
    })
}

fn item(catalog: Catalog<'_>, name: &Token, offers: &[Offer<'_>]) -> ToolItem {
    let providers: BTreeSet<&NodeId> = offers.iter().map(|(node, _)| node.node_id).collect();
    let hashes: BTreeSet<&str> = offers
        .iter()
        .map(|(_, tool)| tool.contract_hash.as_str())
        .collect();
    let tags: BTreeSet<&Name> = offers.iter().flat_map(|(_, tool)| &tool.tags).collect();
    ToolItem {
        name: name.clone(),
        versions: versions(offers)
            .into_iter()
            .take(VERSIONS_SHOWN_MAX)
            .collect(),
        providers: providers.len(),
        provider_node_ids: providers
            .into_iter()
            .take(PROVIDERS_SHOWN_MAX)
            .cloned()
            .collect(),
        contract_hash: hashes
            .first()
            .filter(|_| hashes.len() == 1)
            .map(|hash| (*hash).to_owned()),
        collision: offers
            .iter()
            .any(|(node, tool)| catalog.colliding(node.node_id, tool).next().is_some()),
        tags: tags.into_iter().take(VERSIONS_SHOWN_MAX).cloned().collect(),
    }
}

fn versions(offers: &[Offer<'_>]) -> Vec<Version> {
    let versions: BTreeSet<&Version> = offers.iter().map(|(_, tool)| &tool.version).collect();
    versions.into_iter().rev().cloned().collect()
}

/// One tool in one version, the newest unless the request says which, with a page of its providers.
pub(in crate::registry) fn tool(
    catalog: Catalog<'_>,
    request: &ToolDescribeRequest,
    limit: usize,
) -> Result<ToolDescribeReply, Error> {
    let after = cursor(request.cursor.as_deref(), |text| {
        let (version, node_id) = text.split_once(CURSOR_SEPARATOR)?;
        Some((
            parse_version(version).ok()?,
            node_id.parse::<NodeId>().ok()?,
        ))
    })?;
    let (begun, after) = after.unzip();
    if let (Some(version), Some(begun)) = (&request.version, &begun)
        && version != begun
    {
        return Err(bad_cursor());
    }
    let missing = || {
        let version = request.version.as_ref();
        let version = version.map_or_else(String::new, |version| format!(" {version}"));
        let message = format!("no live node offers tool {}{version}", request.name);
        Error::no_tool(&request.name, message)
    };
    let all: Vec<Offer<'_>> = offers(catalog, &request.name).collect();
    let versions = versions(&all);
    // The pages of one list are of one version, though a newer one may have come since the first.
    let version = request.version.as_ref().or(begun.as_ref());
    let version = version.or(versions.first());
    let version = version.ok_or_else(missing)?.clone();
    let offers: Vec<Offer<'_>> = all
        .into_iter()
        .filter(|(_, tool)| tool.version == version)
        .collect();
    let contracts = contracts(catalog, &offers);
    let standing = |offered: &Offered<'_>| (offered.trusted, offered.providers);
    let most = contracts.values().map(standing).max();
    let chosen = contracts
        .iter()
        .find(|(_, offered)| Some(standing(offered)) == most);
    let (hash, chosen) = chosen.ok_or_else(missing)?;
    let behind = offers
        .iter()
        .filter(|(node, _)| after.as_ref().is_none_or(|after| node.node_id > after))
        .map(|offer| {
            let cursor = format!("{version}{CURSOR_SEPARATOR}{}", offer.0.node_id);
            (cursor, provider(catalog, offer))
        });
    let providers = page(catalog.revision(), behind, limit);
    Ok(ToolDescribeReply {
        name: request.name.clone(),
        contract: again(chosen.tool).ok_or_else(missing)?,
        contract_hash: (*hash).to_owned(),
        collision: contracts.len() > 1,
        variants: variants(&contracts, hash),
        provider_count: offers.len(),
        next_cursor: providers.next_cursor,
        providers: providers.items,
        versions,
        version,
        revision: providers.revision,
        ignored: Vec::new(),
    })
}

/// The tool as it was announced.
pub(in crate::registry) fn announced(tool: &Tool) -> Option<crate::protocol::tool::Tool> {
    again(tool)
}

/// A contract that is offered.
struct Offered<'a> {
    /// How many nodes offer it.
    providers: usize,
    /// How many of them are trusted.
    trusted: usize,
    /// The tool as one of them offers it.
    tool: &'a Tool,
}

/// By hash.
type Contracts<'a> = BTreeMap<&'a str, Offered<'a>>;

fn contracts<'a>(catalog: Catalog<'a>, offers: &[Offer<'a>]) -> Contracts<'a> {
    let mut contracts = Contracts::new();
    for (node, tool) in offers {
        let offered = contracts.entry(&tool.contract_hash).or_insert(Offered {
            providers: 0,
            trusted: 0,
            tool,
        });
        offered.providers += 1;
        let trusted = catalog.trust(node).state != TrustState::Untrusted;
        offered.trusted += usize::from(trusted);
    }
    contracts
}

/// All contracts but that one, in full as far as they fit.
fn variants(contracts: &Contracts<'_>, hash: &str) -> Vec<Variant> {
    let mut room = VARIANTS_BYTES_MAX;
    contracts
        .iter()
        .filter(|(other, _)| **other != hash)
        .take(VARIANTS_SHOWN_MAX)
        .map(|(hash, offered)| {
            let left = room.checked_sub(offered.tool.bytes);
            room = left.unwrap_or(room);
            Variant {
                contract_hash: (*hash).to_owned(),
                providers: offered.providers,
                contract: left.and_then(|_| again(offered.tool)),
            }
        })
        .collect()
}

fn provider(catalog: Catalog<'_>, (node, tool): &Offer<'_>) -> Provider {
    let trust = catalog.trust(node);
    Provider {
        node_id: node.node_id.clone(),
        host: node.registration.host.clone(),
        subject: tool.subject.clone(),
        contract_hash: tool.contract_hash.clone(),
        trust_state: Open::Known(trust.state),
        trust_score: trust.score(),
        health: node.health.cloned(),
        online: node.left > 0,
        expires_in_ms: node.left,
    }
}
