//! A line for each tool.

use crate::{
    cli::{
        cells::listed,
        order::Columns,
        output::{Detail, Table, yes_or_no},
    },
    protocol::tool::ToolItem,
};

/// What tools can be sorted by.
pub(in crate::cli) const COLUMNS: Columns = &[
    ("tool", &["name"]),
    ("providers", &["providers"]),
    ("collision", &["collision"]),
    ("versions", &["versions"]),
    ("tags", &["tags"]),
    ("nodes", &["provider_node_ids"]),
    ("contract", &["contract_hash"]),
];

/// A line for each tool.
pub(in crate::cli) fn table(tools: &[ToolItem], detail: Detail) -> Table {
    let mut header = vec!["TOOL", "VERSIONS", "PROVIDERS", "COLLISION", "TAGS"];
    if detail.is_wide() {
        header.extend(["NODES", "CONTRACT"]);
    }
    let table = Table::new(&header).rows(tools, |tool| {
        let mut cells = vec![
            tool.name.to_string(),
            listed(&tool.versions),
            tool.providers.to_string(),
            yes_or_no(tool.collision).to_owned(),
            listed(&tool.tags),
        ];
        if detail.is_wide() {
            let mut nodes = listed(&tool.provider_node_ids);
            if tool.providers > tool.provider_node_ids.len() {
                nodes += ", …";
            }
            let several = || "several".to_owned();
            cells.extend([nodes, tool.contract_hash.clone().unwrap_or_else(several)]);
        }
        cells
    });
    [2, 3].into_iter().fold(table, Table::whole)
}
