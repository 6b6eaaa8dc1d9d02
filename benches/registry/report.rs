//! The table.

use std::fmt::{self, Display};

use super::bus::Setting;
use super::load::Sample;
use super::measured::{Beside, Round, What};
use super::plan::Plan;

/// A line of the table.
pub(crate) struct Row {
    what: String,
    callers: String,
    ratio: Option<Ratio>,
    /// p50, p99 and rate.
    measured: Option<(f64, f64, f64)>,
}

/// A thing and its yardstick, of which each round measures both.
pub(crate) struct Pair {
    pub(crate) yardstick: String,
    pub(crate) what: String,
    pub(crate) callers: usize,
    /// What of both is compared, in words and as a number.
    pub(crate) to: &'static str,
    pub(crate) of: fn(&Sample) -> f64,
    /// None where none is set.
    pub(crate) aim: Option<Aim>,
}

/// How a thing stands to its yardstick.
struct Ratio {
    median: f64,
    lowest: f64,
    highest: f64,
    of: String,
    aim: Option<Aim>,
}

/// Which ratio is to be reached.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
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
            Self::DescribedBytes => "echo as long as describe",
            Self::Describe => "describe, 20 tools",
            Self::PageBytes => "echo as long as a page",
            Self::Page => "tool.list, 100 of 100",
            Self::FirstBytes => "echo as long as a page of many",
            Self::PageFirst => "tool.list, 100 of many, first",
            Self::PageMiddle => "tool.list, 100 of many, middle",
            Self::Direct => "tool, asked directly",
            Self::Invoke => "tool.invoke",
        })
    }
}

impl Pair {
    /// Of the yardstick's samples and of the thing's.
    pub(crate) fn rows(self, rounds: &[(Sample, Sample)]) -> Vec<Row> {
        let ratios = rounds.iter().map(|(a, b)| (self.of)(b) / (self.of)(a));
        let (yardstick, what): (Vec<_>, Vec<_>) = rounds.iter().map(|(a, b)| (a, b)).unzip();
        vec![
            Row::new(self.yardstick, self.callers).took(&Sample::together(yardstick)),
            Row::new(self.what, self.callers)
                .took(&Sample::together(what))
                .beside(self.to, ratios.collect(), self.aim),
        ]
    }
}

impl Row {
    pub(crate) fn new(what: impl Display, callers: usize) -> Self {
        Self {
            what: what.to_string(),
            callers: callers.to_string(),
            ratio: None,
            measured: None,
        }
    }

    /// How long its requests took.
    pub(crate) fn took(self, sample: &Sample) -> Self {
        let measured = (sample.percentile(50), sample.percentile(99), sample.rate());
        Self {
            measured: Some(measured),
            ..self
        }
    }

    /// What each round had of it, beside that. Shown is their median.
    pub(crate) fn beside(self, to: impl Display, mut rounds: Vec<f64>, aim: Option<Aim>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let ratio = Ratio {
            median: rounds[rounds.len() / 2],
            lowest: rounds[0],
            highest: rounds[rounds.len() - 1],
            of: to.to_string(),
            aim,
        };
        Self {
            ratio: Some(ratio),
            ..self
        }
    }

    /// What all rounds say of it: a line for each thing that it is measured beside.
    pub(crate) fn of(what: What, setting: Setting, callers: usize, rounds: &[Round]) -> Vec<Self> {
        let all = Sample::together(rounds.iter().map(|round| &round[&what]));
        let name = match setting {
            Setting::Lazy => what.to_string(),
            Setting::Always => format!("{what}, always"),
            Setting::Cluster => format!("{what}, cluster"),
        };
        let row = || Self::new(&name, callers).took(&all);
        let beside = what.beside(setting, callers).into_iter();
        // Where there is no etcd, nothing is beside it.
        let beside = beside.filter(|(beside, _)| match beside {
            Beside::One(other) => rounds.iter().all(|round| round.contains_key(other)),
            _ => true,
        });
        let rows = beside.map(|(beside, aim)| {
            let ratios = rounds.iter().map(|it| of_round(what, beside, callers, it));
            let aim = aim.map(match callers {
                1 => Aim::AtMost,
                _ => Aim::AtLeast,
            });
            row().beside(said(beside, callers), ratios.collect(), aim)
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() { vec![row()] } else { rows }
    }

    fn cells(&self) -> [String; 9] {
        let Self { what, callers, .. } = self;
        let mut cells = [const { String::new() }; 9];
        cells[0].clone_from(what);
        cells[1].clone_from(callers);
        if let Some(ratio) = &self.ratio {
            cells[2] = format!("{:.2}", ratio.median);
            if ratio.lowest < ratio.highest {
                cells[3] = format!("{:.2}–{:.2}", ratio.lowest, ratio.highest);
            }
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
        "\n{} of {} aims reached. {} rounds of {} ms each; many callers have {} connections; {cores} cores.",
        aims.iter().filter(|reached| **reached).count(),
        aims.len(),
        plan.rounds_count(),
        plan.window.as_millis(),
        plan.connections,
    );
}
