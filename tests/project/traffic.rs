//! The last step of `make test`: what all the other tests sent, got and left in the streams, judged by the schemas.
//! Every message has to be well; and of what the schemas name and the endpoints declare nothing may be missing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::strict::Schemas;
use onex_core::entry::EventKind;
use onex_log::REMOVED_KEPT_SECONDS;
use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;
use onex_registry::protocol::frame;
use onex_registry::protocol::names::{
    HEADER_CORRELATION_ID, HEADER_ERROR, HEADER_ERROR_NUMBER, HEADER_PROTOCOL, PROTOCOL_MINOR,
};
use serde_json::{Map, Value, json};

/// Codes that no test can bring about, at any endpoint.
const NEVER_SAID: &[(ErrorCode, &str)] = &[(
    ErrorCode::Internal,
    "for faults of the registry's own that nobody knows how to bring about",
)];

/// Codes beside `INVALID_REQUEST` that name a field where they come for what it says: the field, and of which
/// endpoint, where that is not all that have it.
const NAMED_BY: &[(ErrorCode, &str, Option<Endpoint>)] = &[
    (ErrorCode::StoreChanged, "min_revision", None),
    (
        ErrorCode::NotHolder,
        INBOUND_LEASE,
        Some(Endpoint::NodeRegister),
    ),
    (
        ErrorCode::LeaseNotFound,
        INBOUND_LEASE,
        Some(Endpoint::NodeRegister),
    ),
    (
        ErrorCode::LeaseExpired,
        INBOUND_LEASE,
        Some(Endpoint::NodeRegister),
    ),
];
const INBOUND_LEASE: &str = "inbound_ports/*/lease_id";

/// Members that a reply never has, and with them what would be in them, with the endpoint where it is not all of them. By
/// their ends: what is shown of a lease, whichever reply shows it.
const NEVER_GIVEN: &[(&str, Option<Endpoint>, &str)] = &[
    (
        "availability",
        None,
        "in the replies to port.lease and port.rebind only",
    ),
    (
        "verified_on",
        None,
        "in the replies to port.lease and port.rebind only",
    ),
    (
        "warnings",
        Some(Endpoint::PortHeartbeat),
        "in the replies to port.lease and port.rebind only",
    ),
    (
        "items/*/warnings",
        None,
        "in the replies to port.lease and port.rebind only",
    ),
    (
        "ports/leases/*/warnings",
        None,
        "in the replies to port.lease and port.rebind only",
    ),
    (
        "lease/warnings",
        None,
        "in the replies to port.lease and port.rebind only",
    ),
    ("lease/ignored", None, "of a reply as a whole only"),
    (
        "warnings/*",
        Some(Endpoint::ToolDeregister),
        "there is nothing to warn of",
    ),
    (
        "warnings/*",
        Some(Endpoint::BusDeregister),
        "there is nothing to warn of",
    ),
    (
        "next_cursor",
        Some(Endpoint::PoolSet),
        "the pools of a host are on one page",
    ),
    (
        "next_cursor",
        Some(Endpoint::PoolDelete),
        "the pools of a host are on one page",
    ),
    (
        "items/*/description",
        Some(Endpoint::PoolDelete),
        "the default ranges hold again",
    ),
    (
        "items/*/revision",
        Some(Endpoint::PoolDelete),
        "the default ranges hold again",
    ),
    ("items/*/ignored", None, "of a reply as a whole only"),
    ("ports/leases/*/ignored", None, "of a reply as a whole only"),
    (
        "endpoint_uri",
        Some(Endpoint::BusDeregister),
        "of a bus that there is only",
    ),
];

/// The kinds of keys that a registry removes from the view after a while.
const REMOVED: [&str; 3] = ["port", "node", "live"];

/// Events that no test can bring about.
const NEVER_PUBLISHED: &[(EventKind, &str)] = &[];

/// Events that come or not: it depends on how fast a store fills and how fast events are published.
const SOMETIMES_PUBLISHED: &[EventKind] = &[EventKind::Gap];

/// Changes and records that no test brings about in a log whose server it reads.
const NEVER_STORED: &[(&str, &str)] = &[("put.format", "there is one format")];

/// Kinds of complaints that are printed, and characters of one.
const COMPLAINTS_MAX: usize = 40;
const COMPLAINT_CHARS_MAX: usize = 600;

/// What was seen of one endpoint.
#[derive(Default)]
struct Seen {
    /// Times that a field was in a request that was not refused.
    taken: BTreeMap<String, u64>,
    /// Times that a member was in a reply, null or not.
    given: BTreeMap<String, u64>,
    /// Times that a code named a field.
    named: BTreeMap<(String, String), u64>,
    codes: BTreeMap<String, u64>,
    replies: u64,
}

/// Everything that was recorded, and what is wrong with it.
struct Traffic {
    schemas: Schemas,
    /// What a request to each endpoint may have.
    fields: BTreeMap<&'static str, Vec<String>>,
    /// What a reply of each endpoint may have.
    members: BTreeMap<&'static str, Vec<String>>,
    /// Kinds of changes in the log: `renew`, `put.lease`, …
    changes: Vec<String>,
    endpoints: BTreeMap<String, Seen>,
    /// Members of `details`, by the code.
    details: BTreeMap<(String, String), u64>,
    /// Events and records of the view, by the names of their schemas; markers of removed keys; and kinds of changes in the
    /// log.
    others: BTreeMap<String, u64>,
    complaints: BTreeMap<String, Complaint>,
}

/// What is wrong at the same place of the same kind of message.
struct Complaint {
    count: u64,
    /// One of them: the test binary, what is wrong, and the message.
    example: String,
}

fn folder() -> PathBuf {
    let folder = std::env::var_os("ONEX_TRAFFIC");
    PathBuf::from(folder.expect("ONEX_TRAFFIC names the folder; make test sets it"))
}

/// The fields that a schema of each endpoint names.
fn of_each(schema: impl Fn(Endpoint) -> Value) -> BTreeMap<&'static str, Vec<String>> {
    let fields = |endpoint: Endpoint| {
        let schema = schema(endpoint);
        let mut fields: Vec<String> = crate::strict::fields(&schema)
            .into_iter()
            .map(|(field, _)| field)
            .collect();
        // Where there are several shapes, once.
        fields.dedup();
        (endpoint.name(), fields)
    };
    Endpoint::ALL.into_iter().map(fields).collect()
}

impl Traffic {
    fn read() -> Self {
        let schemas = Schemas::new();
        let mut traffic = Self {
            changes: changes(schemas.get("entry").unwrap()),
            schemas,
            fields: of_each(Endpoint::request_schema),
            members: of_each(Endpoint::response_schema),
            endpoints: BTreeMap::new(),
            details: BTreeMap::new(),
            others: BTreeMap::new(),
            complaints: BTreeMap::new(),
        };
        for entry in fs::read_dir(folder()).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_none_or(|extension| extension != "jsonl")
            {
                continue;
            }
            let binary = path.file_stem().unwrap().to_str().unwrap().to_owned();
            for line in fs::read_to_string(&path).unwrap().lines() {
                // The last line of a test binary that was killed may be a part of one.
                let Ok(line) = serde_json::from_str::<Value>(line) else {
                    continue;
                };
                for wrong in traffic.judge(&line) {
                    traffic.complain(&binary, &wrong, &line);
                }
            }
        }
        traffic
    }

    fn complain(&mut self, binary: &str, wrong: &str, line: &Value) {
        let cut = |text: &str| text.chars().take(COMPLAINT_CHARS_MAX).collect::<String>();
        // The schema's name and the place in the message, whichever item of a list that is.
        let place = wrong.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ");
        let place = place.replace(|c: char| c.is_ascii_digit(), "");
        let example = || format!("{binary}: {}\n    {}", cut(wrong), cut(&line.to_string()));
        let entry = self.complaints.entry(place);
        let first = || Complaint {
            count: 0,
            example: example(),
        };
        entry.or_insert_with(first).count += 1;
    }

    /// What is wrong with one line.
    fn judge(&mut self, line: &Value) -> Vec<String> {
        if let Some(endpoint) = line["exchange"].as_str() {
            self.exchange(endpoint, line)
        } else if let Some(subject) = line["event"].as_str() {
            self.event(subject, line)
        } else if let Some(key) = line["marker"].as_str() {
            self.marker(key, line)
        } else if let Some(subject) = line["entry"].as_str() {
            self.entry(subject, line)
        } else {
            self.shown(line["view"].as_str().unwrap(), &line["body"])
        }
    }

    fn exchange(&mut self, name: &str, line: &Value) -> Vec<String> {
        let Some(endpoint) = Endpoint::ALL.iter().find(|one| one.name() == name) else {
            return vec![format!("{name} answered, and is no endpoint")];
        };
        let (headers, request, reply) = (&line["headers"], &line["request"], &line["reply"]);
        let reply_headers = &line["reply_headers"];
        let seen = self.endpoints.entry(name.to_owned()).or_default();
        let mut wrong = Vec::new();
        if reply_headers[HEADER_CORRELATION_ID].as_str().is_none() {
            wrong.push(format!("{name}: a reply without {HEADER_CORRELATION_ID}"));
        }
        let fields = &self.fields[name];
        if reply.get("error").is_none() {
            seen.replies += 1;
            for field in fields {
                let said = has(request, &parts(field), |value| !value.is_null());
                *seen.taken.entry(field.clone()).or_default() += u64::from(said);
            }
            for member in &self.members[name] {
                let given = has(reply, &parts(member), |_| true);
                *seen.given.entry(member.clone()).or_default() += u64::from(given);
            }
            let minor = frame::protocol_minor(headers[HEADER_PROTOCOL].as_str()).unwrap();
            let later = minor > PROTOCOL_MINOR;
            if !later {
                wrong.extend(self.errors(&format!("{name}.request"), request));
            }
            wrong.extend(self.errors(&format!("{name}.reply"), reply));
            return wrong;
        }
        let error = &reply["error"];
        let code = error["code"].as_str().unwrap_or_default();
        *seen.codes.entry(code.to_owned()).or_default() += 1;
        for detail in error["details"].as_object().into_iter().flat_map(Map::keys) {
            let said = (code.to_owned(), detail.clone());
            *self.details.entry(said).or_default() += 1;
        }
        let pointer = error["details"]["pointer"].as_str().unwrap_or_default();
        if let Some(field) = crate::strict::field_of(pointer, fields) {
            let invalid = code == ErrorCode::InvalidRequest.as_str();
            if !invalid && !may_name(*endpoint, &field, code) {
                wrong.push(format!("{name}: {code} names {field}, and is not said to"));
            }
            let named = (field, code.to_owned());
            *seen.named.entry(named).or_default() += 1;
        }
        match endpoint.errors().iter().find(|one| one.as_str() == code) {
            None => wrong.push(format!("{name} answered {code}, which it does not declare")),
            Some(declared) => {
                let said = (
                    &reply_headers[HEADER_ERROR],
                    &reply_headers[HEADER_ERROR_NUMBER],
                );
                let wanted = (
                    &json!(declared.as_str()),
                    &json!(declared.number().to_string()),
                );
                if said != wanted {
                    wrong.push(format!("{name}: headers say {said:?}, and the body {code}"));
                }
            }
        }
        wrong.extend(self.errors("error", reply));
        wrong
    }

    fn event(&mut self, subject: &str, line: &Value) -> Vec<String> {
        let kind = line["body"]["event"].as_str().unwrap_or_default();
        let name = format!("event.{kind}");
        let mut wrong = self.whole_errors(&name, line);
        if !subject.contains(&format!(".registry.v1.event.{kind}.")) {
            wrong.push(format!("{name} came on {subject}"));
        }
        *self.others.entry(name).or_default() += 1;
        wrong
    }

    fn shown(&mut self, key: &str, body: &Value) -> Vec<String> {
        let kind = key.split('.').next().unwrap_or_default();
        let name = format!("view.{kind}");
        let wrong = self.errors(&name, body);
        *self.others.entry(name).or_default() += 1;
        wrong
    }

    fn marker(&mut self, key: &str, line: &Value) -> Vec<String> {
        let kind = key.split('.').next().unwrap_or_default();
        *self.others.entry(marker_of(kind)).or_default() += 1;
        let headers = &line["headers"];
        let well = line["bytes"] == 0
            && headers["KV-Operation"] == "DEL"
            && headers["Nats-TTL"] == json!(REMOVED_KEPT_SECONDS.to_string());
        let wrong = format!("{}: it is no marker of a registry's", marker_of(kind));
        (!well).then_some(wrong).into_iter().collect()
    }

    fn entry(&mut self, subject: &str, line: &Value) -> Vec<String> {
        let mut wrong = self.whole_errors("entry", line);
        if subject.rsplit('.').next() != Some("log") {
            wrong.push(format!("entry: it came on {subject}"));
        }
        for command in line["body"]["cmds"].as_array().into_iter().flatten() {
            for change in command["do"].as_array().into_iter().flatten() {
                let kinds = self.changes.iter();
                let has = |kind: &&String| kind.split('.').all(|one| change.get(one).is_some());
                for kind in kinds.filter(has) {
                    *self.others.entry(change_of(kind)).or_default() += 1;
                }
            }
        }
        wrong
    }

    /// What is wrong with a message and its headers, but for those of JetStream's own.
    fn whole_errors(&self, name: &str, line: &Value) -> Vec<String> {
        let mut said = line["headers"].clone();
        if let Some(said) = said.as_object_mut() {
            said.retain(|header, _| !header.starts_with("Nats-"));
        }
        let headers = self.schemas.header_errors(name, &said).into_iter();
        let headers = headers.map(|error| format!("{name}, headers: {error}"));
        self.errors(name, &line["body"])
            .into_iter()
            .chain(headers)
            .collect()
    }

    fn errors(&self, name: &str, message: &Value) -> Vec<String> {
        let errors = self.schemas.errors(name, message);
        errors
            .into_iter()
            .map(|error| format!("{name}: {error}"))
            .collect()
    }

    /// Endpoint by endpoint: how often each field was taken, and named by each code that may name it; how often each
    /// declared code was said. Then events, records of the view, markers of removed keys, and changes in the log.
    fn table(&self) -> String {
        let none = Seen::default();
        let mut table = String::new();
        for endpoint in Endpoint::ALL {
            let name = endpoint.name();
            let seen = self.endpoints.get(name).unwrap_or(&none);
            writeln!(table, "{name}: {} replies", seen.replies).unwrap();
            for field in &self.fields[name] {
                let taken = seen.taken.get(field).unwrap_or(&0);
                write!(table, "    {field:<32} taken {taken:>5}").unwrap();
                for code in naming(endpoint, field) {
                    let named = (field.clone(), code.as_str().to_owned());
                    let count = seen.named.get(&named).unwrap_or(&0);
                    write!(table, "   {} {count:>4}", code.as_str()).unwrap();
                }
                table.push('\n');
            }
            for member in &self.members[name] {
                let given = seen.given.get(member).unwrap_or(&0);
                writeln!(table, "    {member:<32} given {given:>5}").unwrap();
            }
            for code in endpoint.errors() {
                let count = seen.codes.get(code.as_str()).unwrap_or(&0);
                writeln!(table, "    {:<32} said  {count:>5}", code.as_str()).unwrap();
            }
        }
        for (code, detail) in details() {
            let count = self.details.get(&(code.clone(), detail.clone()));
            writeln!(table, "{code} details {detail}: {}", count.unwrap_or(&0)).unwrap();
        }
        for (name, _) in self.events_and_records() {
            let count = self.others.get(&name).unwrap_or(&0);
            writeln!(table, "{name}: {count}").unwrap();
        }
        table
    }

    /// Each kind of event, record of the view, marker and change, and whether none can be seen.
    fn events_and_records(&self) -> impl Iterator<Item = (String, bool)> {
        let kinds = ["event.", "view."];
        let is_event = |name: &str, kind: EventKind| name == format!("event.{}", kind.as_str());
        let unpublished = move |name: &str| {
            let mut all = NEVER_PUBLISHED.iter();
            all.any(|(kind, _)| is_event(name, *kind))
        };
        let sometimes = move |name: &str| {
            let mut all = SOMETIMES_PUBLISHED.iter();
            all.any(|kind| is_event(name, *kind))
        };
        let named = self.schemas.names();
        let named = named.filter(move |name| {
            kinds.iter().any(|kind| name.starts_with(kind)) && !sometimes(name)
        });
        let changes = self.changes.iter().map(|kind| {
            let never = NEVER_STORED.iter().any(|(one, _)| one == kind);
            (change_of(kind), never)
        });
        named
            .map(move |name| (name.to_owned(), unpublished(name)))
            .chain(REMOVED.map(|kind| (marker_of(kind), false)))
            .chain(changes)
    }

    /// What was never seen and should have been; and what was seen of which it is said that it cannot be.
    fn missing(&self) -> Vec<String> {
        let none = Seen::default();
        let mut missing = Vec::new();
        let mut expect = |seen: bool, never: bool, what: String| match (seen, never) {
            (false, false) => missing.push(format!("never seen: {what}")),
            (true, true) => missing.push(format!("no exception any more: {what}")),
            (true, false) | (false, true) => {}
        };
        for endpoint in Endpoint::ALL {
            let name = endpoint.name();
            let seen = self.endpoints.get(name).unwrap_or(&none);
            expect(seen.replies > 0, false, format!("{name}: a reply"));
            for field in &self.fields[name] {
                let taken = seen.taken.get(field).is_some_and(|taken| *taken > 0);
                expect(taken, false, format!("{name}: {field} taken"));
                for code in naming(endpoint, field) {
                    let named = (field.clone(), code.as_str().to_owned());
                    let what = format!("{name}: {field} named by {}", code.as_str());
                    expect(seen.named.contains_key(&named), false, what);
                }
            }
            for member in &self.members[name] {
                let given = seen.given.get(member).is_some_and(|given| *given > 0);
                let never = never_given(endpoint, member);
                expect(given, never, format!("{name}: {member} given"));
            }
            for code in endpoint.errors() {
                let said = seen.codes.contains_key(code.as_str());
                let never = NEVER_SAID.iter().any(|(one, _)| *one == code);
                expect(said, never, format!("{name}: {}", code.as_str()));
            }
        }
        for (code, detail) in details() {
            let what = format!("{code} with {detail}");
            expect(self.details.contains_key(&(code, detail)), false, what);
        }
        for (name, never) in self.events_and_records() {
            expect(self.others.contains_key(&name), never, name);
        }
        missing
    }
}

/// Each code with each member that its `details` may have.
fn details() -> impl Iterator<Item = (String, String)> {
    ErrorCode::ALL.iter().flat_map(|code| {
        let details = code.details().iter();
        details.map(|(detail, _)| (code.as_str().to_owned(), detail.name().to_owned()))
    })
}

/// The name under which markers of such keys are counted.
fn marker_of(kind: &str) -> String {
    format!("marker.{kind}")
}

/// The name under which changes of that kind are counted.
fn change_of(kind: &str) -> String {
    format!("entry.{kind}")
}

/// The kinds of changes that the schema of an entry names; of those that put a record, one for each kind of record.
fn changes(entry: &Value) -> Vec<String> {
    let parts = &entry["$defs"];
    let kinds = parts["Change"]["anyOf"].as_array().unwrap().iter();
    let kinds = kinds.map(|kind| kind["required"][0].as_str().unwrap());
    let records = parts["Record"]["properties"].as_object().unwrap();
    kinds
        .flat_map(|kind| match kind {
            "put" => records
                .keys()
                .map(|record| format!("put.{record}"))
                .collect(),
            kind => vec![kind.to_owned()],
        })
        .collect()
}

fn parts(field: &str) -> Vec<&str> {
    field.split('/').collect()
}

/// Whether a message has that field, with a value of that sort: in any item, where it is one of a list's.
fn has(message: &Value, field: &[&str], of_sort: fn(&Value) -> bool) -> bool {
    match field {
        [] => of_sort(message),
        ["*", rest @ ..] => {
            let mut items = message.as_array().into_iter().flatten();
            items.any(|item| has(item, rest, of_sort))
        }
        [name, rest @ ..] => {
            let value = message.get(name);
            value.is_some_and(|value| has(value, rest, of_sort))
        }
    }
}

fn never_given(endpoint: Endpoint, member: &str) -> bool {
    let mut all = NEVER_GIVEN.iter();
    all.any(|(end, at, _)| {
        // These two grant ports.
        let grants = [Endpoint::PortLease, Endpoint::PortRebind].contains(&endpoint);
        let here = at.map_or(!grants, |at| at == endpoint);
        let mut around = member.match_indices('/').map(|(at, _)| &member[..at]);
        let is_it = |member: &str| {
            let rest = member.strip_suffix(end);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        here && (is_it(member) || around.any(is_it))
    })
}

/// The codes that may name that field.
fn naming(endpoint: Endpoint, field: &str) -> impl Iterator<Item = ErrorCode> {
    let others = NAMED_BY
        .iter()
        .filter(move |(_, other, at)| *other == field && at.is_none_or(|at| at == endpoint));
    [ErrorCode::InvalidRequest]
        .into_iter()
        .chain(others.map(|(code, ..)| *code))
}

fn may_name(endpoint: Endpoint, field: &str, code: &str) -> bool {
    naming(endpoint, field).any(|one| one.as_str() == code)
}

#[test]
#[ignore = "reads what the other tests leave: make test"]
fn every_message_is_well() {
    let traffic = Traffic::read();
    let shown = traffic.complaints.values().take(COMPLAINTS_MAX);
    let shown: Vec<String> = shown
        .map(|one| format!("{} like this: {}", one.count, one.example))
        .collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

#[test]
#[ignore = "reads what the other tests leave: make test"]
fn none_is_missing() {
    let traffic = Traffic::read();
    let table = traffic.table();
    println!("{table}");
    fs::write(folder().join("table.txt"), table).unwrap();
    let missing = traffic.missing();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
