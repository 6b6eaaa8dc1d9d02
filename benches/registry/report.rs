//! The table.

use std::fmt::{self, Display};

use super::bus::Sync;
use super::load::Sample;
use super::measured::{Beside, Round, What};
use super::plan::{NODE_TOOLS, Plan};

/// A line of the table.
pub(crate) struct Row {
    what: String,
    callers: String,
    ratio: Option<Ratio>,
    /// p50, p99 and rate.
    measured: Option<(f64, f64, f64)>,
}

/// How a thing stands to its yardstick.
struct Ratio {
    median: f64,
    lowest: f64,
    highest: f64,
    of: String,
    aim: Option<Aim>,
}

impl Ratio {
    fn of(what: What, beside: Beside, aim: Option<f64>, callers: usize, rounds: &[Round]) -> Self {
        let of_round = |round| of_round(what, beside, callers, round);
        let mut ratios: Vec<f64> = rounds.iter().map(of_round).collect();
        ratios.sort_by(f64::total_cmp);
        Self {
            median: ratios[ratios.len() / 2],
            lowest: ratios[0],
            highest: ratios[ratios.len() - 1],
            of: said(beside, callers),
            aim: aim.map(match callers {
                1 => Aim::AtMost,
                _ => Aim::AtLeast,
            }),
        }
    }
}

#[derive(Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Aim {
    fn reached(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(aim) => ratio <= aim,
            Self::AtLeast(aim) => ratio >= aim,
        }
    }
}

impl Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(aim) => write!(f, "≤ {aim}"),
            Self::AtLeast(aim) => write!(f, "≥ {aim}"),
        }
    }
}

impl Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Write => "raw CAS write",
            Self::Etcd => "etcd, lease and transaction",
            Self::Lease => "port.lease",
            Self::LeaseNamed => "port.lease, request_id",
            Self::Heartbeat => "port.heartbeat",
            Self::Release => "port.release",
            Self::Sized => "echo of that size",
            Self::Describe => "describe, 20 tools",
            Self::Page => "tool.list, 100 tools",
            Self::PageFirst => "tool.list, many, first",
            Self::PageMiddle => "tool.list, many, middle",
            Self::Direct => "tool, asked directly",
            Self::Invoke => "tool.invoke",
        })
    }
}

impl Row {
    /// What all rounds say of it: a line for each thing that it is measured beside.
    pub(crate) fn of(what: What, sync: Sync, callers: usize, rounds: &[Round]) -> Vec<Self> {
        let all = Sample::together(rounds.iter().map(|round| &round[&what]));
        let beside = what.beside(sync, callers).into_iter();
        // Where there is no etcd, nothing is beside it.
        let beside = beside.filter(|(beside, _)| match beside {
            Beside::One(other) => rounds.iter().all(|round| round.contains_key(other)),
            _ => true,
        });
        let mut ratios: Vec<_> = beside
            .map(|(beside, aim)| Some(Ratio::of(what, beside, aim, callers, rounds)))
            .collect();
        if ratios.is_empty() {
            ratios.push(None);
        }
        let name = match sync {
            Sync::Lazy => what.to_string(),
            Sync::Always => format!("{what}, always"),
        };
        let row = |ratio| Self {
            what: name.clone(),
            callers: callers.to_string(),
            ratio,
            measured: Some((all.percentile(50), all.percentile(99), all.rate())),
        };
        ratios.into_iter().map(row).collect()
    }

    /// Of something that this build does not serve.
    pub(crate) fn absent(what: &str) -> Self {
        Self {
            what: format!("{what}: not served by this build"),
            callers: String::new(),
            ratio: None,
            measured: None,
        }
    }

    fn cells(&self) -> [String; 9] {
        let Self { what, callers, .. } = self;
        let mut cells = [const { String::new() }; 9];
        cells[0].clone_from(what);
        cells[1].clone_from(callers);
        if let Some(ratio) = &self.ratio {
            cells[2] = format!("{:.2}", ratio.median);
            cells[3] = format!("{:.2}–{:.2}", ratio.lowest, ratio.highest);
            cells[4].clone_from(&ratio.of);
            if let Some(aim) = ratio.aim {
                let reached = if aim.reached(ratio.median) {
                    "yes"
                } else {
                    "no"
                };
                cells[5] = format!("{aim}: {reached}");
            }
        }
        if let Some((p50, p99, rate)) = self.measured {
            cells[6] = format!("{p50:.0}");
            cells[7] = format!("{p99:.0}");
            cells[8] = format!("{rate:.0}");
        }
        cells
    }
}

/// Of one caller what its median request takes beside the yardstick's, of many how many they get done.
fn of_round(what: What, beside: Beside, callers: usize, round: &Round) -> f64 {
    let p50 = |what| round[&what].percentile(50);
    let rate = |what| round[&what].rate();
    match (beside, callers) {
        (Beside::EchoAndWrite | Beside::Write, 1) => {
            p50(what) / (p50(What::Echo) + p50(What::Write))
        }
        (Beside::EchoAndWrite, _) => {
            rate(what) * (1.0 / rate(What::Echo) + 1.0 / rate(What::Write))
        }
        (Beside::Write, _) => rate(what) / rate(What::Write),
        (Beside::One(other), 1) => p50(what) / p50(other),
        (Beside::One(other), _) => rate(what) / rate(other),
    }
}

fn said(beside: Beside, callers: usize) -> String {
    match (beside, callers) {
        (Beside::EchoAndWrite | Beside::Write, 1) => "p50 of echo + CAS".to_owned(),
        (Beside::EchoAndWrite, _) => "rate 1/(1/echo + 1/CAS)".to_owned(),
        (Beside::Write, _) => "rate of CAS".to_owned(),
        (Beside::One(other), 1) => format!("p50 of {other}"),
        (Beside::One(other), _) => format!("rate of {other}"),
    }
}

const HEADS: [&str; 9] = [
    "what", "callers", "ratio", "rounds", "to", "aim", "p50 µs", "p99 µs", "a second",
];
/// The columns of names and words; the others are numbers.
const LEFT: [usize; 3] = [0, 4, 5];

/// Prints all rows, and how many of the aims are reached.
pub(crate) fn print(rows: &[Row], plan: &Plan) {
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEADS.len()).filter_map(width).collect();
    for (n, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            if LEFT.contains(&column) {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        if n == 0 {
            let dashes = widths.iter().enumerate();
            let dashes = dashes.map(|(column, width)| {
                if LEFT.contains(&column) {
                    "-".repeat(*width)
                } else {
                    format!("{}:", "-".repeat(width - 1))
                }
            });
            println!("| {} |", dashes.collect::<Vec<_>>().join(" | "));
        }
    }
    let ratios = rows.iter().filter_map(|row| row.ratio.as_ref());
    let aims: Vec<bool> = ratios
        .filter_map(|ratio| Some(ratio.aim?.reached(ratio.median)))
        .collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "\n{} of {} aims reached. {} rounds of {} ms each; many callers have {} connections; many tools: {}; {cores} cores.",
        aims.iter().filter(|reached| **reached).count(),
        aims.len(),
        plan.rounds,
        plan.window.as_millis(),
        plan.connections,
        plan.nodes * NODE_TOOLS,
    );
}
