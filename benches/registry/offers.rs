//! Nodes and tools: what is listed, described and invoked.

use async_nats::{Client, RequestErrorKind};
use serde_json::{Value, json};
use uuid::Uuid;

use super::harness::{Caller, node, tool};
use super::load::Repeated;
use super::plan::{NODE_TOOLS, Plan};
use super::responder::{SIZED, TOOL};

/// Tools of the node that is described.
const DESCRIBED_TOOLS: usize = 20;
/// Tools of a page, where a request does not say.
const PAGE_TOOLS: usize = 100;

/// Requests about nodes and tools, with what each is measured beside.
pub(crate) struct Offers {
    /// Of a node with 20 tools.
    pub(crate) describe: Repeated,
    /// Answered by nothing but as many bytes.
    pub(crate) sized: Repeated,
    /// A page of the 100 tools that there are.
    pub(crate) page: Repeated,
    /// The first page of many tools.
    pub(crate) first: Repeated,
    /// A page from the middle of many tools.
    pub(crate) middle: Repeated,
    /// A request to a tool.
    pub(crate) direct: Repeated,
    /// The same through the registry, where that is served.
    pub(crate) invoke: Option<Repeated>,
}

impl Offers {
    /// Announces the nodes, to a registry with few tools and to one with many.
    pub(crate) async fn announce(few: &Caller, plan: &Plan) -> Self {
        let mut many = few.clone();
        "onex.large.registry.v1".clone_into(&mut many.prefix);
        for n in 0..plan.nodes {
            let tools = (0..NODE_TOOLS).map(|k| small(&format!("tool-{n:03}-{k:03}")));
            register(&many, &format!("node-{n:03}"), tools.collect()).await;
        }
        let tools = (0..DESCRIBED_TOOLS).map(|n| contract(&format!("described-{n}")));
        register(few, "described", tools.collect()).await;
        let tools = (DESCRIBED_TOOLS + 1..PAGE_TOOLS).map(|n| small(&format!("other-{n}")));
        register(few, "others", tools.collect()).await;
        register(few, "provider", vec![echoing()]).await;

        let page = few.get("tool.list", json!({})).await;
        assert_eq!(page["items"].as_array().unwrap().len(), PAGE_TOOLS);
        assert_eq!(page.get("next_cursor"), None, "they are {PAGE_TOOLS}");
        let mut cursor = Value::Null;
        for _ in 0..plan.nodes / 2 {
            let page = many.get("tool.list", json!({"cursor": cursor})).await;
            cursor = page["next_cursor"].clone();
        }
        let about = json!({"node_id": "described"});
        let described = few.reply("describe", &[], about.to_string()).await;
        let size = described.body.to_string().len();
        let arguments = json!({"text": "what is said", "times": 3});
        let call = json!({"tool_name": "echo", "arguments": arguments});
        let invoke = request(few, "tool.invoke", &call);
        Self {
            describe: request(few, "describe", &about),
            sized: Repeated::new(&format!("{SIZED}.{size}"), about.to_string()),
            page: request(few, "tool.list", &json!({})),
            first: request(&many, "tool.list", &json!({})),
            middle: request(&many, "tool.list", &json!({"cursor": cursor})),
            direct: Repeated::new(TOOL, arguments.to_string()),
            invoke: is_served(&few.client, &invoke).await.then_some(invoke),
        }
    }
}

fn request(caller: &Caller, endpoint: &str, body: &Value) -> Repeated {
    Repeated::new(&caller.subject(endpoint), body.to_string())
}

/// Whether anybody answers to that.
async fn is_served(client: &Client, asked: &Repeated) -> bool {
    let shot = asked.0.clone();
    match client.request(shot.subject, shot.body).await {
        Ok(_) => true,
        Err(error) if error.kind() == RequestErrorKind::NoResponders => false,
        Err(error) => panic!("{error}"),
    }
}

/// It does not end while it is measured.
async fn register(caller: &Caller, id: &str, tools: Vec<Value>) {
    let body = node(Uuid::new_v4(), id, json!({"ttl": 86_400, "tools": tools}));
    caller.get("node.register", body).await;
}

/// A tool with a short contract of its own.
fn small(name: &str) -> Value {
    let mut tool = tool(name);
    tool["description"] = json!(format!("What {name} does."));
    tool["input_schema"] = json!({"type": "object", "properties": {name: {"type": "string"}}});
    tool
}

/// A tool as an author would write it.
fn contract(name: &str) -> Value {
    let mut tool = tool(name);
    tool["description"] = json!("Finds the documents that a question is about, the best first.");
    tool["tags"] = json!(["search", "documents"]);
    tool["input_schema"] = json!({
        "type": "object", "required": ["question"], "additionalProperties": false,
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "In plain words."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
            "language": {"enum": ["de", "en", "fr"]},
        },
    });
    tool["output_schema"] = json!({
        "type": "object", "required": ["found"],
        "properties": {"found": {"type": "array", "items": {
            "type": "object", "required": ["id", "score"],
            "properties": {"id": {"type": "string"}, "score": {"type": "number", "minimum": 0, "maximum": 1}},
        }}},
    });
    tool
}

/// The tool that the responder is.
fn echoing() -> Value {
    let schema = json!({
        "type": "object", "required": ["text"],
        "properties": {"text": {"type": "string"}, "times": {"type": "integer"}},
    });
    let mut tool = tool("echo");
    tool["subject"] = json!(TOOL);
    tool["input_schema"] = schema.clone();
    tool["output_schema"] = schema;
    tool
}
