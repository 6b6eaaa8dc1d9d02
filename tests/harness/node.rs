//! Nodes as the tests announce them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Caller, with};

/// The body of a `node.register` request.
pub(crate) fn node(requester: Uuid, node_id: &str, more: Value) -> Value {
    with(
        json!({
            "node_id": node_id, "version": "1.0.0", "node_type": "tool", "requester_id": requester,
        }),
        more,
    )
}

/// A tool that says no more than it has to.
pub(crate) fn tool(name: &str) -> Value {
    json!({"name": name, "version": "1.0.0"})
}

/// Who acts for a node, and in which life of it.
pub(crate) fn claim(requester: Uuid, node_id: &str, epoch: u64) -> Value {
    json!({"node_id": node_id, "requester_id": requester, "epoch": epoch})
}

impl Caller {
    /// Announces a node.
    #[track_caller]
    pub(crate) fn register(
        &self,
        requester: Uuid,
        node_id: &str,
        more: Value,
    ) -> impl Future<Output = Value> + use<'_> {
        self.get("node.register", node(requester, node_id, more))
    }

    /// The sections of a node that are named, all of them if none are.
    pub(crate) async fn describe(&self, node_id: &str, sections: &[&str]) -> Value {
        let mut body = json!({"node_id": node_id});
        if !sections.is_empty() {
            body["sections"] = json!(sections);
        }
        self.see("describe", body).await
    }

    /// The names of all tools that are listed.
    pub(crate) async fn tool_names(&self) -> Vec<String> {
        let page = self.see("tool.list", json!({"limit": 1000})).await;
        let items = page["items"].as_array().unwrap();
        let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
        items.iter().map(name).collect()
    }

    /// How many ports of a pool are held, rest, and are free.
    pub(crate) async fn pool(&self, host: &str) -> (u64, u64, u64) {
        let page = self.see("pool.list", json!({"host": host})).await;
        let pool = &page["items"][0];
        let count = |name: &str| pool[name].as_u64().unwrap();
        (count("held"), count("resting"), count("free"))
    }
}
