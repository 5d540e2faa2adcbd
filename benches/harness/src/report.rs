//! Medians and ranges, goals, and tables in Markdown.

use std::{collections::BTreeMap, fmt};

/// The values of several rounds. Displayed as `median (least to greatest)`.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<f64>);

impl Values {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }
}

impl From<f64> for Values {
    fn from(only: f64) -> Self {
        Self(vec![only])
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, greatest) =
            self.0.iter().fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(*v), most.max(*v)));
        match self.0.len() {
            1 => f.write_str(&short(least)),
            _ => write!(f, "{} ({} to {})", short(self.median()), short(least), short(greatest)),
        }
    }
}

/// What was measured under each name.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<String, Values>);

impl Samples {
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().0.push(value);
    }

    /// The values of a name, which must have some.
    pub(crate) fn of(&self, name: &str) -> &Values {
        &self.0[name]
    }

    /// The ratios of two names, round by round. A machine whose speed drifts does not disturb them.
    pub(crate) fn ratio(&self, of: &str, to: &str) -> Values {
        Values(self.of(of).0.iter().zip(&self.of(to).0).map(|(of, to)| of / to).collect())
    }
}

/// What a median must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn verdict(self, median: f64) -> &'static str {
        let met = match self {
            Self::AtMost(most) => median <= most,
            Self::AtLeast(least) => median >= least,
        };
        if met { "met" } else { "**missed**" }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// The cells of values and their goal: the values, the goal, and whether it is met.
pub(crate) fn cells(values: &Values, goal: impl Into<Option<Goal>>) -> [String; 3] {
    let goal = goal.into();
    let [wanted, verdict] = goal
        .map_or_else(Default::default, |goal| [goal.to_string(), goal.verdict(values.median()).to_owned()]);
    [values.to_string(), wanted, verdict]
}

/// Three significant digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Prints a table.
pub(crate) fn table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    crate::say(format_args!("\n### {title}\n\n| {} |", head.join(" | ")));
    crate::say(format_args!("|{}", " --- |".repeat(head.len())));
    for row in rows {
        crate::say(format_args!("| {} |", row.join(" | ")));
    }
}
