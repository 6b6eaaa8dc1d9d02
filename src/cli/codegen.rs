//! `onex codegen`: typed clients from contracts.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, ValueEnum};
use onex_types::ids::{Invalid, Token};
use semver::{Version, VersionReq};

use crate::{
    client,
    codegen::{self, Language, Order, Source},
    contract::canonical::contract_hash,
    protocol::{
        error::ErrorCode,
        names::Namespace,
        tool::{Tool, ToolDescribeReply, ToolDescribeRequest, ToolListRequest},
    },
};

use super::{
    cells::listed,
    codegen_check,
    contract_file::ContractFile,
    failure::{Exit, Failure},
    nearest,
    output::{self, Output},
    session::Session,
    watch,
};

/// What stdout is called in the place of a file.
const STDOUT: &str = "-";

/// Write a module with a typed client for tools, from the contracts that the registry holds or a file has.
///
/// The same contracts give the same text, wherever it is written. Code that was made from a contract which is not offered
/// any more gets an error at its first call that says how to make it anew.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex codegen --lang python --tool add --tool search@^2 --out tools.py\n  \
    onex codegen --lang typescript --tool add --out tools.ts --check\n  \
    onex tool describe add -o json > add.json\n  \
    onex codegen --lang rust --from add.json --out src/tools.rs"
)]
pub(super) struct Codegen {
    /// In which language: rust, python or typescript.
    #[arg(long, value_enum, value_name = "LANGUAGE", hide_possible_values = true)]
    lang: Lang,
    /// A tool, as `add` or, for the newest version in a range, `add@^1.2`. May be given several times.
    #[arg(
        long = "tool",
        value_name = "NAME[@RANGE]",
        required_unless_present = "from"
    )]
    tools: Vec<Wanted>,
    /// Reads the contracts from a JSON file, `-` for stdin, and asks no registry: contracts, lists of them, or what
    /// `onex tool describe NAME -o json` prints, one behind the other. All of them, unless --tool says which.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// How it calls: registry for `tool.invoke`, which checks arguments and results and chooses the provider for each
    /// call; direct to ask the registry for a provider only, and then that one.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WAY",
        hide_possible_values = true
    )]
    via: Via,
    /// Writes to this file instead of stdout, which `-` names too. One that is right already is left alone.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Writes nothing; exits with 1 when the file was edited or made from other contracts, for CI. Other versions and texts
    /// of the same contracts are no failure.
    #[arg(long, requires = "out")]
    check: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lang {
    Rust,
    Python,
    Typescript,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Via {
    #[default]
    Registry,
    Direct,
}

/// A tool, and in which versions.
#[derive(Debug, Clone)]
struct Wanted {
    name: Token,
    range: Option<VersionReq>,
    /// As it was given.
    text: String,
}

impl FromStr for Wanted {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (name, range) = match text.split_once('@') {
            Some((name, range)) => (name, Some(range)),
            None => (text, None),
        };
        let name = name.parse();
        let name = name.map_err(|error| Invalid(format!("the name of a tool {error}")))?;
        let range = range.map(VersionReq::parse).transpose().map_err(|error| {
            Invalid(format!(
                "behind '@' must stand a range of versions, as ^1.2 or \">=1, <3\" or =1.0.0: {error}"
            ))
        })?;
        Ok(Self {
            name,
            range,
            text: text.to_owned(),
        })
    }
}

impl Codegen {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        self.file()?;
        let mut sources: Vec<Source> = Vec::new();
        for wanted in &self.tools {
            let described = describe(session, wanted).await?;
            if described.collision {
                session.output.note(&format!(
                    "nodes offer {} {} under different contracts; this is {}",
                    described.name, described.version, described.contract_hash
                ));
            }
            sources.push(Source {
                contract: described.contract,
                contract_hash: described.contract_hash,
            });
        }
        self.finish(&sources, session.client.namespace(), session.output)
    }

    /// Whether a file has all that is needed.
    pub(super) fn needs_no_registry(&self) -> bool {
        self.from.is_some()
    }

    pub(super) fn run_from_file(
        &self,
        namespace: &Namespace,
        output: Output,
    ) -> Result<Exit, Failure> {
        self.file()?;
        let Some(path) = &self.from else {
            return Err(Failure::usage("--from names no file"));
        };
        let file = ContractFile::read(path)?;
        let mut sources = Vec::new();
        if self.tools.is_empty() {
            sources.extend(file.contracts().iter().map(source));
        }
        for wanted in &self.tools {
            sources.push(source(file.newest(&wanted.name, wanted.range.as_ref())?));
        }
        self.finish(&sources, namespace, output)
    }

    /// Where the text goes, unless it is stdout.
    fn file(&self) -> Result<Option<&Path>, Failure> {
        let file = self.out.as_deref();
        let file = file.filter(|path| *path != Path::new(STDOUT));
        if self.check && file.is_none() {
            let failure = Failure::usage("--check needs a file, and `--out -` is stdout");
            return Err(failure.hint("a file of that name is ./-"));
        }
        Ok(file)
    }

    fn finish(
        &self,
        sources: &[Source],
        namespace: &Namespace,
        output: Output,
    ) -> Result<Exit, Failure> {
        let order = Order {
            language: match self.lang {
                Lang::Rust => Language::Rust,
                Lang::Python => Language::Python,
                Lang::Typescript => Language::Typescript,
            },
            via: match self.via {
                Via::Registry => codegen::Via::Registry,
                Via::Direct => codegen::Via::Direct,
            },
            sources,
            namespace,
        };
        match self.file()? {
            None => output::print(codegen::generate(&order).as_bytes())?,
            Some(path) if self.check => codegen_check::check(path, &order, output)?,
            Some(path) => write(path, &codegen::generate(&order))?,
        }
        Ok(Exit::Done)
    }
}

fn source(contract: &Tool) -> Source {
    Source {
        contract_hash: contract_hash(contract),
        contract: contract.clone(),
    }
}

/// The contract that is wanted.
async fn describe(session: &Session, wanted: &Wanted) -> Result<ToolDescribeReply, Failure> {
    let version = match &wanted.range {
        Some(range) => Some(newest(session, wanted, range).await?),
        None => None,
    };
    let request = ToolDescribeRequest {
        name: wanted.name.clone(),
        version,
        limit: watch::most(),
        cursor: None,
        min_revision: None,
    };
    let called = session.client.describe_tool(&request).await;
    match session.seen(called).await {
        Ok(reply) => Ok(reply),
        Err(failure) => Err(suggest(session, failure, &wanted.name).await),
    }
}

/// The newest version in a range.
async fn newest(
    session: &Session,
    wanted: &Wanted,
    range: &VersionReq,
) -> Result<Version, Failure> {
    let request = ToolListRequest {
        name: Some(wanted.name.clone()),
        ..ToolListRequest::default()
    };
    let called = session.client.tools(&request).await;
    let page = session.seen(called).await?;
    let versions = page.items.into_iter().flat_map(|tool| tool.versions);
    let versions: Vec<Version> = versions.collect();
    let within = versions.iter().filter(|version| range.matches(version));
    if let Some(newest) = within.max() {
        return Ok(newest.clone());
    }
    let name = &wanted.name;
    let code = ErrorCode::ToolNotFound;
    let message = format!("no live node offers {}", wanted.text);
    let failure = Failure::new(Exit::Failed, code.as_str(), message);
    if versions.is_empty() {
        return Err(suggest(session, failure, name).await);
    }
    Err(failure.hint(format!("{name} is offered as {}", listed(&versions))))
}

async fn suggest(session: &Session, failure: Failure, name: &Token) -> Failure {
    let tools = async {
        let request = ToolListRequest {
            limit: watch::most(),
            ..ToolListRequest::default()
        };
        let page = session.client.tools(&request).await?;
        let names = page.items.iter().map(|tool| tool.name.to_string());
        Ok::<Vec<String>, client::Error>(names.collect())
    };
    nearest::suggest(failure, ErrorCode::ToolNotFound, name.as_str(), tools).await
}

/// Puts the file in its place in one step; one that is right already stays as it is.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if std::fs::read_to_string(path).is_ok_and(|have| have == text) {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let done = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
    done.map_err(|error| {
        let _ = std::fs::remove_file(&new);
        codegen_check::unusable(path, "write", &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_may_have_a_range() {
        let wanted: Wanted = "add@>=1, <3".parse().unwrap();
        assert_eq!(wanted.name.as_str(), "add");
        assert!(wanted.range.unwrap().matches(&Version::new(2, 0, 0)));
        assert!("add".parse::<Wanted>().unwrap().range.is_none());
        for bad in ["", "a.b", "add@", "add@one", "@1"] {
            assert!(bad.parse::<Wanted>().is_err(), "{bad:?}");
        }
    }
}
