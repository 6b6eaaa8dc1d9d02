//! A node's tools as the text that describes them. Announcements change seldom and are described often, so the text
//! is kept: to make it takes longer than all the rest of an answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use onex_core::{node::Tool, record::Unknown};
use onex_types::ids::{Name, NodeId, Token};
use semver::Version;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::protocol::error::{Error, ErrorCode};

use super::{Catalog, CatalogNode};

/// Bytes of all texts that are kept, at most; then they are made anew.
const TEXTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Texts of nodes that were described.
#[derive(Default)]
pub(in crate::registry) struct Texts {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    texts: HashMap<NodeId, Text>,
    bytes: usize,
}

/// The tools of one announcement, as they were described last.
struct Text {
    registration_revision: u64,
    /// Which of them others announce under other contracts: that changes with what others announce.
    collisions: Vec<bool>,
    json: Arc<RawValue>,
}

/// A [`NodeTool`](crate::protocol::node_view::NodeTool).
#[derive(Serialize)]
struct DescribedTool<'a> {
    name: &'a Token,
    version: &'a Version,
    contract_hash: &'a str,
    collision: bool,
    subject: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [Name],
    #[serde(flatten)]
    more: &'a Unknown,
}

impl Texts {
    /// A JSON array: what that node announced of its tools.
    pub(super) fn tools(
        &self,
        catalog: Catalog<'_>,
        node: &CatalogNode<'_>,
    ) -> Result<Arc<RawValue>, Error> {
        let tools = &node.registration.tools;
        let collides = |tool| catalog.colliding(node.node_id, tool).next().is_some();
        let collisions: Vec<bool> = tools.iter().map(collides).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = kept.texts.get(node.node_id)
            && (text.registration_revision, &text.collisions)
                == (node.registration_revision, &collisions)
        {
            return Ok(Arc::clone(&text.json));
        }
        let described = tools.iter().zip(&collisions).map(described);
        let json = to_raw_value(&described.collect::<Vec<_>>())
            .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let text = Text {
            registration_revision: node.registration_revision,
            collisions,
            json: json.into(),
        };
        let json = Arc::clone(&text.json);
        kept.keep(node.node_id, text);
        Ok(json)
    }
}

impl Kept {
    fn keep(&mut self, node_id: &NodeId, text: Text) {
        let length = text.json.get().len();
        if self.bytes + length > TEXTS_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes += length;
        if let Some(before) = self.texts.insert(node_id.clone(), text) {
            self.bytes -= before.json.get().len();
        }
    }
}

fn described<'a>((tool, collision): (&'a Tool, &bool)) -> DescribedTool<'a> {
    DescribedTool {
        name: &tool.name,
        version: &tool.version,
        contract_hash: &tool.contract_hash,
        collision: *collision,
        subject: &tool.subject,
        tags: &tool.tags,
        more: &tool.more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Text {
        let json = RawValue::from_string(format!("\"{}\"", "x".repeat(length - 2))).unwrap();
        Text {
            registration_revision: 0,
            collisions: Vec::new(),
            json: json.into(),
        }
    }

    #[test]
    fn texts_are_bounded() {
        let node = |n: usize| format!("node-{n}").parse::<NodeId>().unwrap();
        let mut kept = Kept::default();
        for n in 0..100 {
            kept.keep(&node(n), text(1024 * 1024));
            let there: usize = kept.texts.values().map(|text| text.json.get().len()).sum();
            assert_eq!(kept.bytes, there);
            assert!(kept.bytes <= TEXTS_BYTES_MAX && kept.texts.contains_key(&node(n)));
        }
        for _ in 0..100 {
            kept.keep(&node(99), text(1024));
        }
        assert_eq!(
            kept.bytes,
            kept.texts
                .values()
                .map(|text| text.json.get().len())
                .sum::<usize>()
        );
    }
}
